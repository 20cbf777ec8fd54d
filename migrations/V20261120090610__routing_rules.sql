-- Why: the rules every deployment starts with. The words that open a request say most; what it is about
-- corrects them. The accuracy of these is printed by tests/routing, on requests they were written from and on
-- others.

-- What opens a request. A row becomes two rules: the first sentence says more than the later ones.
with verbs (task_type, words) as (values
  ('fix',      'fix fixes fixing debug repair resolve solve troubleshoot diagnose hotfix patch correct mend '
               'unbreak fixup'),
  ('test',     'test tests retest fuzz'),
  ('review',   'review audit critique proofread vet'),
  ('research', 'research investigate compare evaluate explore find explain study survey why how what what''s '
               'which who when where is are does do did has look understand learn assess'),
  ('docs',     'document documenting'),
  ('ops',      'deploy redeploy restart reboot rollback provision rotate scale upgrade backup restore '
               'monitor release ship publish install configure renew purge schedule stop start kill drain '
               'failover'),
  ('plan',     'plan propose outline architect estimate scope prioritize prioritise brainstorm roadmap'),
  ('data',     'analyze analyse query chart plot visualize visualise aggregate dedupe deduplicate calculate '
               'count'),
  ('design',   'mock sketch redesign restyle draw wireframe'),
  ('code',     'implement add write create build make develop refactor port extract convert replace remove '
               'delete introduce support extend integrate wire expose rewrite generate change update rename '
               'move allow enable disable use switch split simplify optimize optimise cache handle validate '
               'parse hook scaffold bootstrap code return store show hide inline bump sort format reformat '
               'migrate merge turn set put drop cleanup modify speed reduce limit sync wrap inject persist'),
  ('other',    'hi hello hey thanks thank thx cheers lol haha joke translate remind congrats congratulations '
               'bye morning night happy sing tell')
)
insert into public.hub_routing_rules (query, task_type, weight)
select array_to_string(array(select quote_literal(w) || ':' || l.label
                               from unnest(string_to_array(v.words, ' ')) w),
                       ' | '),
       v.task_type,
       l.weight
  from verbs v, (values ('A', 10::real), ('B', 5::real)) as l (label, weight);

insert into public.hub_routing_rules (query, task_type, weight) values
  -- fix: somebody says what is wrong, often without asking for anything
  ('broken | breaks | broke | bug | bugs | crash | crashes | crashing | crashed | hang | hangs | hanging'
   ' | freeze | freezes | frozen | segfault | panic | panics | panicked | deadlock | regression | leak'
   ' | leaks | leaking', 'fix', 8),
  ('error | errors | exception | exceptions | traceback | stacktrace | fails | failing | failed | failure'
   ' | failures | throws | throwing | 500 | 500s | 502 | 503 | 504 | timeout | undefined | nan', 'fix', 5),
  ('wrong | incorrect | incorrectly | missing | stuck | twice | duplicated | flicker | flickers | flickering'
   ' | blank | corrupt | corrupted | stale', 'fix', 4),
  ('(not | doesn | doesnt | isn | isnt | won | wont | stopped | no <-> longer | can) <-> (working | work'
   ' | works | load | loading | loads | start | starts | show | showing | compile | build | respond | save'
   ' | saving)', 'fix', 8),
  ('returns | shows | jumps | resets | drops | strips | chokes | covers | ignores | disappears | vanishes'
   ' | overlaps | loses | stops | skips | displays | renders | lags | laggy | slow | sluggish | unresponsive'
   ' | oops | oopses | overflow | overflows | typeerror | deref | flashes | blinks | truncated | misaligned'
   ' | mismatch', 'fix', 4),
  ('(should | must) <-> not | shouldn <-> t | cut <-> off | black <-> screen | white <-> screen | off <-> by'
   ' | day <-> off | too <-> (slow | late | early | big | small | long) | (gets | get) <-> (stuck | lost)'
   ' | instead <-> of | (no | not) <-> (longer | saved | sent | found | shown | updated | visible)'
   ' | nothing <-> happens', 'fix', 5),
  ('getting:A | seeing:A | receiving:A | since <-> (yesterday | today | this | last | the)', 'fix', 6),
  ('(and | then) <-> fix | fix <-> (it | that | this)', 'fix', 12),
  -- a statement about how things are, in a place where people ask for work, is a complaint
  ('is | are | isn | aren | was | never | always | still | sometimes | randomly | keeps | since | again'
   ' | anymore | everytime | every <-> time | after | whenever | when', 'fix', 1.5),
  ('t <-> (work | load | start | show | compile | build | respond | save | open | render | connect | match'
   ' | update | fire)', 'fix', 8),
  ('race <-> condition | memory <-> leak | null <-> pointer | off <-> by <-> one | infinite <-> loop'
   ' | root <-> cause', 'fix', 6),
  -- test
  ('(write:A | add:A | create:A | implement:A | generate:A | increase:A | improve:A | extend:A | run:A'
   ' | rerun:A | set:A | build:A | expand:A | raise:A | bring:A | get:A) & (test | tests | testing | coverage'
   ' | e2e | unittest | unittests | pytest | playwright | cypress | jest | vitest | fuzzing)', 'test', 12),
  ('(write:B | add:B | create:B | run:B) & (test | tests | coverage)', 'test', 5),
  ('tests | coverage | e2e | unit <-> test | integration <-> test | regression <-> test | smoke <-> test'
   ' | load <-> test | test <-> suite | test <-> case | test <-> cases | property <-> based'
   ' | snapshot <-> test', 'test', 4),
  ('(cypress | playwright | jest | vitest | mocha | rspec | junit | xctest | pytest | selenium | unit'
   ' | regression | smoke | integration | load | e2e) <-> (test | tests | testing | case | cases | spec'
   ' | specs) | (test | tests | specs | spec | cases) <-> for', 'test', 7),
  -- review
  ('code <-> review | security <-> review | security <-> audit | pull <-> request | second <-> opinion'
   ' | sanity <-> check | feedback <-> on | look <-> over | take <-> a <-> look | go <-> over'
   ' | lgtm', 'review', 6),
  ('(look:A | go:A) <-> through | pair <-> of <-> eyes | (does | is) <3> (ok | okay | right | sane | safe)'
   ' | audit | inconsistent', 'review', 12),
  ('(look:A | check:A | go:A | read:A | give:A | inspect:A | take:A | walk:A | approve:A | examine:A)'
   ' & (pr | prs | diff | branch | patch | commit | commits | changes | vulnerabilities | feedback | comments'
   ' | mr)', 'review', 12),
  ('pr & !(open:A | create:A | merge:A)', 'review', 3),
  -- research
  ('pros <2> cons | difference <-> between | differences <-> between | best <-> practice | best <-> practices'
   ' | state <-> of <-> the <-> art | alternatives | trade <-> offs | tradeoffs | versus | vs'
   ' | options <-> for | look <-> into | find <-> out | figure <-> out | dig <-> into | recommend'
   ' | recommendation | recommendations', 'research', 7),
  ('(summarize:A | summarise:A | summary:A) & !(pr | diff | meeting | standup)', 'research', 10),
  ('paper | papers | benchmark <-> results | literature | vendor | vendors | pricing | libraries <-> for'
   ' | library <-> for', 'research', 4),
  -- docs
  ('(write:A | update:A | add:A | improve:A | create:A | draft:A | generate:A | expand:A | rewrite:A | fix:A'
   ' | refresh:A | polish:A | put:A | clean:A | clarify:A | correct:A | make:A | proofread:A | translate:A'
   ' | edit:A | tidy:A) & (readme | docs | documentation | changelog | docstring | docstrings | guide'
   ' | manual | quickstart | tutorial | runbook | wiki | jsdoc | javadoc | rustdoc | faq | howto | adr'
   ' | glossary | handbook | contributing | release <-> notes | user <-> manual | api <-> reference'
   ' | code <-> comments | doc <-> comments)', 'docs', 14),
  ('readme | docs | documentation | changelog | docstring | docstrings | tutorial | runbook | wiki | jsdoc'
   ' | javadoc | rustdoc | glossary | release <-> notes | getting <-> started | quickstart | quick <-> start'
   ' | man <-> page | manual | cheatsheet | cheat <-> sheet'
   ' | (user | setup | install | installation | migration | style | onboarding | contributor) <-> guide'
   ' | guide <-> for | how <-> to <-> guide | doc <-> comment | doc <-> comments', 'docs', 6),
  -- ops
  ('roll:A <-> back | back:A <-> up | spin:A <-> up | tear:A <-> down'
   ' | clean:A <-> up <2> (disk | logs | images) | scale:A <-> (up | down)'
   ' | check:A & (disk | server | servers | cpu | memory | load | logs | certificate | uptime | health'
   ' | queue | space | replication | backups)', 'ops', 11),
  ('(set:A | setup:A | configure:A | add:A | create:A | update:A | change:A | bump:A | enable:A | disable:A'
   ' | move:A | migrate:A | point:A | open:A | increase:A | cache:A | speed:A | make:A | put:A | write:A'
   ' | get:A | clean:A | split:A | use:A) & (terraform | ansible | helm | kubernetes | k8s | dns | s3'
   ' | bucket | nginx | cron | cronjob | systemd | logrotate | jenkins | gitlab | pipeline'
   ' | github <-> actions | github <-> action | ci | ssl | tls | certificate | cert | firewall | vpc | vpn'
   ' | grafana | prometheus | autoscaling | cloudflare | docker <-> compose | dockerfile | load <-> balancer'
   ' | staging | production | prod | web <-> server | server <-> room)', 'ops', 9),
  ('notarize:A | notarise:A | sign:A | staple | codesign:A | rotate | renew | uptime | outage | on <-> call'
   ' | oncall | pagerduty | incident | rollout | canary | hotfix <-> release', 'ops', 8),
  ('(set:A | setup:A | configure:A | add:A | create:A | update:A | change:A | bump:A | enable:A | move:A'
   ' | migrate:A | point:A | open:A | increase:A) & (ci | github <-> actions | gitlab | jenkins | dns | cron'
   ' | cronjob | nginx | ssl | tls | certificate | cert | firewall | vpc | terraform | ansible | helm'
   ' | kubernetes | k8s | alert | alerts | grafana | prometheus | backup | backups | s3 | bucket | vpn | ssh'
   ' | autoscaling | replica | replicas | secret | secrets | iam | server | cluster | vm)', 'ops', 6),
  ('production | prod | staging | server | servers | kubernetes | k8s | terraform | ansible | helm | nginx'
   ' | dns | cron | certificate | certificates | disk | cluster | pods | pod | deployment | backups | ec2'
   ' | vps | droplet', 'ops', 3),
  -- plan
  ('roadmap | design <-> doc | rfc | milestones | implementation <-> plan | migration <-> plan'
   ' | project <-> plan | rollout <-> plan | break <-> down | break <2> down | breakdown | epics | epic'
   ' | step <-> by <-> step | technical <-> spec | tech <-> spec | acceptance <-> criteria | user <-> stories'
   ' | sprint | action <-> plan | test <-> plan | game <-> plan', 'plan', 8),
  ('(design:A | draft:A | write:A | propose:A | sketch:A | outline:A | define:A | come:A | put:A | make:A'
   ' | create:A | prepare:A) & (architecture | plan | proposal | strategy | spec | specification | rfc'
   ' | roadmap | approach | schema | timeline | data <-> model)', 'plan', 9),
  ('step <-> by <-> step <-> plan | (a | the) <-> plan | plan <-> (for | to | how)'
   ' | how <-> should <-> we <-> go <-> about | how <-> should <-> we | roadmap:A | proposal:A'
   ' | break <2> into', 'plan', 9),
  ('estimate | effort | architecture | strategy', 'plan', 3),
  -- data
  ('csv | csvs | dataset | datasets | spreadsheet | parquet | pandas | dataframe | etl | cohort | funnel'
   ' | churn | histogram | warehouse | bigquery | snowflake | dbt | outliers | correlation | percentiles'
   ' | tsv | xlsx | excel', 'data', 6),
  ('pivot | (sql <-> (query | report)) | report <-> (on | of)'
   ' | (monthly | weekly | daily) <-> (revenue | report | sales | active)'
   ' | (per | by) <-> (country | month | week | day | customer | user | region | team)'
   ' | duplicates & (csv | rows | table | records)', 'data', 8),
  ('(write:A | build:A | create:A | make:A | clean:A | export:A | import:A | load:A | merge:A | join:A'
   ' | generate:A | produce:A | pull:A | compute:A | run:A | give:A | show:A | get:A | find:A | how:A'
   ' | which:A | what:A | group:A | break:A | transform:A | convert:A | prepare:A) & (sql | csv | dataset'
   ' | data | metrics | chart | charts | graph | dashboard | report | revenue | rows | table | signups'
   ' | sales | customers | average | median | sum | kpi | kpis | etl | statistics | stats)', 'data', 6),
  -- design
  ('logo | icon | icons | mockup | mockups | figma | wireframe | wireframes | palette | typography'
   ' | illustration | colour <-> scheme | color <-> scheme | color <-> palette | colour <-> palette | visual'
   ' | branding | ux', 'design', 7),
  ('(design:A | create:A | make:A | propose:A | pick:A | choose:A | suggest:A | rework:A | improve:A'
   ' | prototype:A | polish:A | tweak:A) & (ui | ux | layout | screen | page | landing | colors | colours'
   ' | theme | logo | icon | icons | look | style | spacing | button | buttons | banner | animation'
   ' | onboarding | dark <-> mode | empty <-> state | visual | hero)', 'design', 8),
  ('design:A & !(schema | api | database | architecture | system | protocol)', 'design', 6),
  -- code
  ('new:A | i <-> want | want <-> users | users <-> (should | can | to) | (able | allowed) <-> to'
   ' | should <-> be <-> able', 'code', 7),
  ('function | endpoint | resolver | consumer | producer | webhook | widget | page | screen | modal | dialog'
   ' | toggle | command | plugin | adapter | serializer | validator | migration | model | service | support'
   ' | player | shader', 'code', 1.5),
  ('class | component | module | method | handler | struct | cli | feature | flag | parameter | middleware'
   ' | hook | enum | interface | trait | script | parser | wrapper | client | button | field', 'code', 2),
  -- other
  ('thanks | thank <-> you | good <-> morning | good <-> night | how <-> are <-> you | what <-> s <-> up'
   ' | joke | poem | haiku | birthday | weather | recipe | dinner | lunch | flight | weekend | haha | lol'
   ' | great <-> job | well <-> done | nice <-> work', 'other', 11);

-- Small edits that a script could make.
insert into public.hub_routing_rules (query, model, weight) values
  ('rename:A | rename:B | bump:A | bump:B | reformat:A | format:A | prettify:A | lint:A'
   ' | (sort:A & (imports | import | keys | entries | lines | list | alphabetically | dependencies))'
   ' | (run:A & (formatter | prettier | black | gofmt | rustfmt | isort | eslint | linter'
   ' | clippy))', 'codex', 10),
  ('(find <-> and <-> replace) | (search <-> and <-> replace)'
   ' | ((license | licence | copyright) & (header | headers | year)) | (trailing & whitespace)'
   ' | (tabs & spaces) | indentation | line <-> endings | crlf | codemod | sed'
   ' | (unused & (imports | import | variables)) | (replace:A & (all | every | everywhere | occurrences'
   ' | string | with)) | (change:A & (all | every | everywhere | occurrences | string))', 'codex', 10);

insert into public.hub_routing_rules (query, platform, weight) values
  ('swift | swiftui | uikit | appkit | xcode | xcodebuild | xcodeproj | ios | ipad | ipados | iphone | macos'
   ' | simulator | simulators | testflight | notarize | notarise | notarization | notarisation | notarizing'
   ' | notarising | notarized | notarised | watchos | tvos | visionos | cocoapods | codesign', 'macos', 10),
  ('mac <-> app | mac <-> catalyst | mac <-> build | instruments'
   ' & (profile | profiling | leak | leaks | trace | allocations | app | run | time <-> profiler)'
   ' | app <-> store <-> connect', 'macos', 10),
  ('systemd | systemctl | journalctl | apt | apt-get | dpkg | linux | kernel <-> module | kernel <-> modules'
   ' | docker <-> host | docker <-> hosts | ebpf | iptables | nftables', 'linux', 10),
  ('windows <-> (server | service | installer | app | build | machine | runner | box | registry | vm | update'
   ' | 10 | 11 | desktop | client | laptop | agent | users'
   ' | only) | on <-> windows | for <-> windows | under <-> windows | windows:A | win32 | powershell | msi'
   ' | msix | winget | wsl | (support | supporting) <-> windows | windows <-> support', 'windows', 10);

analyze public.hub_routing_rules;
analyze hub_internal.routing_words;
