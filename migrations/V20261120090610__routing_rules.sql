-- Why: the rules every deployment starts with: which machines a request needs. Nothing of that is a matter of
-- more or less, so it is said and not learned. The type is (…routing_weights).

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
