// The rooms and who may import whom (server/README.md draws the picture). Each rule lists what a room may NOT reach.
const room = (name) => `^server/${name}/`;
const rooms = [
  'collections',
  'settings',
  'engine',
  'journal',
  'archive',
  'broker',
  'session',
  'gateway',
  'http',
  'app',
  'cli',
  'testing',
];
// A room may import itself and those named here.
const MAY = {
  collections: [],
  settings: [],
  engine: ['collections'],
  journal: ['collections', 'engine'],
  archive: [],
  broker: ['collections', 'settings', 'engine', 'journal', 'archive'],
  session: ['collections', 'settings', 'engine', 'broker'],
  gateway: ['settings', 'session'],
  http: ['settings', 'engine', 'journal', 'broker', 'session'],
  app: ['collections', 'settings', 'engine', 'journal', 'archive', 'broker', 'session', 'gateway', 'http'],
  cli: ['settings', 'app', 'journal'],
  testing: ['settings', 'broker', 'app'],
};
const roomRules = rooms.map((from) => ({
  name: `room-${from}`,
  severity: 'error',
  from: { path: room(from) },
  to: { path: rooms.filter((to) => to !== from && !MAY[from].includes(to)).map(room) },
}));
/** A third-party package belongs to the rooms named here and to no other. */
const only = (name, path) => ({
  name: `only-${name}`,
  severity: 'error',
  from: { pathNot: path },
  to: { path: `node_modules/${name}/` },
});
module.exports = {
  forbidden: [
    ...roomRules,
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'protocol-imports-nothing-of-ours',
      severity: 'error',
      from: { path: '^protocol/' },
      to: { path: '^(client-sdk|server|bench)/' },
    },
    { name: 'protocol-is-pure', severity: 'error', from: { path: '^protocol/' }, to: { dependencyTypes: ['core'] } },
    {
      name: 'client-imports-protocol-only',
      severity: 'error',
      from: { path: '^client-sdk/' },
      to: { path: '^(server|bench)/' },
    },
    {
      name: 'engine-is-pure',
      severity: 'error',
      from: { path: '^server/(engine|collections)/' },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'collections-import-nothing',
      severity: 'error',
      from: { path: '^server/collections/' },
      to: { pathNot: '^server/collections/' },
    },
    { name: 'server-does-not-import-bench', severity: 'error', from: { path: '^server/' }, to: { path: '^bench/' } },
    {
      name: 'only-the-command-is-a-client',
      severity: 'error',
      from: { path: '^server/', pathNot: '^server/cli/' },
      to: { path: '^client-sdk/' },
    },
    only('fastify', '^server/http/'),
    only('prom-client', '^server/http/'),
    only('ws', '^(server/gateway/|client-sdk/|bench/)'),
    only('msgpackr', '^protocol/'),
    only('commander', '^(server/cli/|bench/)'),
    only('fs-native-extensions', '^server/journal/'),
    only('better-sqlite3', '^server/archive/'),
    only('@types/better-sqlite3', '^server/archive/'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)dist/' },
    tsConfig: { fileName: 'tsconfig.base.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'types', 'default'] },
  },
};
