//! Examples of every command, for `--help` and the reference; a test parses each of them.

pub(crate) const ACTION_CREATE: &str = "\
Examples:
  evoke action create hello hello.js
  evoke action create tools/sum sum.py -p start 1 -t 10000 -m 128
  evoke action create pay pay.js --secret-file token.json
  evoke action create app app.zip --kind nodejs:default --main run";
pub(crate) const ACTION_UPDATE: &str = "\
Examples:
  evoke action update hello hello.js     new code
  evoke action update hello -p level 3   new parameters, the code stays";
pub(crate) const ACTION_GET: &str = "\
Examples:
  evoke action get hello
  evoke action get tools/sum --code > sum.py";
pub(crate) const ACTION_LIST: &str = "\
Examples:
  evoke action list
  evoke action list --limit 200 --json";
pub(crate) const ACTION_INVOKE: &str = "\
Examples:
  evoke action invoke hello -p name Ada        begin it and print its id
  evoke action invoke hello -P order.json -r   wait and print the result
  evoke action invoke /whisk.system/alarms/alarm -b -p lifecycleEvent READ -p triggerName nightly";
pub(crate) const ACTION_DELETE: &str = "\
Examples:
  evoke action delete hello
  evoke action delete tools/sum";
pub(crate) const PACKAGE_CREATE: &str = r#"Examples:
  evoke package create tools
  evoke package create shop -p currency EUR -a description "The shop""#;
pub(crate) const PACKAGE_UPDATE: &str = "\
Examples:
  evoke package update tools -p currency USD";
pub(crate) const PACKAGE_GET: &str = "\
Examples:
  evoke package get tools";
pub(crate) const PACKAGE_LIST: &str = "\
Examples:
  evoke package list";
pub(crate) const PACKAGE_DELETE: &str = "\
Examples:
  evoke package delete tools
  evoke package delete tools --force   and its actions";
pub(crate) const TRIGGER_CREATE: &str = r#"Examples:
  evoke trigger create orders
  evoke trigger create orders --subscribe "type=order.*"
  evoke trigger create pushes --webhook-hmac "$SECRET"
  evoke trigger create nightly --feed /whisk.system/alarms/alarm -p cron "0 2 * * *""#;
pub(crate) const TRIGGER_UPDATE: &str = r#"Examples:
  evoke trigger update orders --subscribe "type=order.*" --subscribe source=/shop"#;
pub(crate) const TRIGGER_GET: &str = "\
Examples:
  evoke trigger get orders";
pub(crate) const TRIGGER_LIST: &str = "\
Examples:
  evoke trigger list";
pub(crate) const TRIGGER_FIRE: &str = "\
Examples:
  evoke trigger fire orders -p item tea -p count 2
  evoke trigger fire orders -P order.json";
pub(crate) const TRIGGER_DELETE: &str = "\
Examples:
  evoke trigger delete orders";
pub(crate) const RULE_CREATE: &str = "\
Examples:
  evoke rule create bill orders charge
  evoke rule create bill orders charge --attempts 5 --backoff 1s --ordered
  evoke rule create bill orders charge --deadline 10m --dead-letter-trigger lost";
pub(crate) const RULE_UPDATE: &str = "\
Examples:
  evoke rule update bill orders shop/charge --attempts 5";
pub(crate) const RULE_GET: &str = "\
Examples:
  evoke rule get bill";
pub(crate) const RULE_LIST: &str = "\
Examples:
  evoke rule list";
pub(crate) const RULE_STATUS: &str = "\
Examples:
  evoke rule status bill";
pub(crate) const RULE_ENABLE: &str = "\
Examples:
  evoke rule enable bill";
pub(crate) const RULE_DISABLE: &str = "\
Examples:
  evoke rule disable bill";
pub(crate) const RULE_DELETE: &str = "\
Examples:
  evoke rule delete bill";
pub(crate) const FEED_CREATE: &str = r#"Examples:
  evoke feed create every-second --provider alarms --trigger tick -p every 1s
  evoke feed create placed --provider kafka --trigger orders -p brokers '["broker:9092"]' -p topic orders
  evoke feed create stock --provider couchdb --trigger changed -P couchdb.json"#;
pub(crate) const FEED_LIST: &str = "\
Examples:
  evoke feed list";
pub(crate) const FEED_GET: &str = "\
Examples:
  evoke feed get every-second";
pub(crate) const FEED_PAUSE: &str = "\
Examples:
  evoke feed pause every-second";
pub(crate) const FEED_RESUME: &str = "\
Examples:
  evoke feed resume every-second";
pub(crate) const FEED_RESET: &str = "\
Examples:
  evoke feed reset placed --to earliest
  evoke feed reset placed --to 2026-01-31T13:45:00Z";
pub(crate) const FEED_DELETE: &str = "\
Examples:
  evoke feed delete every-second";
pub(crate) const ACTIVATION_LIST: &str = "\
Examples:
  evoke activation list
  evoke activation list charge --since 10m
  evoke activation list --limit 200 --json";
pub(crate) const ACTIVATION_GET: &str = "\
Examples:
  evoke activation get 2f0b6c1d8e7a4f5b9c3d2e1f0a9b8c7d
  evoke activation get --last";
pub(crate) const ACTIVATION_LOGS: &str = "\
Examples:
  evoke activation logs --last
  evoke activation logs 2f0b6c1d8e7a4f5b9c3d2e1f0a9b8c7d";
pub(crate) const ACTIVATION_RESULT: &str = "\
Examples:
  evoke activation result --last";
pub(crate) const ACTIVATION_POLL: &str = "\
Examples:
  evoke activation poll                 what happens from now on
  evoke activation poll charge --logs   one action, with its logs
  evoke activation poll --since 10m --exit 5  the last ten minutes, and five seconds more";
pub(crate) const EVENT_SEND: &str = r#"Examples:
  evoke event send -t order.placed -s /shop '{"item": "tea"}'
  evoke event send -t order.placed --id order-1 -f order.json
  evoke event send -t order.placed --trigger orders -x partitionkey=tea"#;
pub(crate) const EVENT_LIST: &str = "\
Examples:
  evoke event list
  evoke event list --trigger orders --since 1h";
pub(crate) const EVENT_ERASE: &str = "\
Examples:
  evoke event erase 0:1024";
pub(crate) const EVENT_SHOW: &str = "\
Examples:
  evoke event show 0:42";
pub(crate) const DEAD_LETTER_LIST: &str = "\
Examples:
  evoke deadletter list
  evoke deadletter list --rule bill";
pub(crate) const DEAD_LETTER_SHOW: &str = "\
Examples:
  evoke deadletter show 2f0b6c1d8e7a4f5b9c3d2e1f0a9b8c7d";
pub(crate) const DEAD_LETTER_REPLAY: &str = "\
Examples:
  evoke deadletter replay 2f0b6c1d8e7a4f5b9c3d2e1f0a9b8c7d
  evoke deadletter replay --rule bill";
pub(crate) const DEAD_LETTER_DISCARD: &str = "\
Examples:
  evoke deadletter discard --rule bill";
pub(crate) const REPLAY_CREATE: &str = "\
Examples:
  evoke replay create bill --from 2h
  evoke replay create bill --from 0:1200 --to 0:1300";
pub(crate) const REPLAY_LIST: &str = "\
Examples:
  evoke replay list";
pub(crate) const REPLAY_GET: &str = "\
Examples:
  evoke replay get 7f6e5d4c";
pub(crate) const REPLAY_CANCEL: &str = "\
Examples:
  evoke replay cancel 7f6e5d4c";
pub(crate) const RUNTIMES: &str = "\
Examples:
  evoke runtimes";
pub(crate) const NAMESPACE_GET: &str = "\
Examples:
  evoke namespace get";
