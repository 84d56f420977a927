//! The configuration of a server: defaults, then the file, then the environment, then flags; the later one wins, and every mistake is
//! reported at once. Reading the environment is the caller's business, so that this is a function of its inputs, and of where the folders
//! among them lead.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clos_resources::duration::Duration as WrittenDuration;
use clos_telemetry::logs::Filter;

use crate::folders;

/// Everything a server can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the record of truth, the certificates and the audit file lie.
    pub data_dir: PathBuf,
    /// Folders of YAML that are applied and kept applied.
    pub dirs: Vec<PathBuf>,
    /// Where the Kubernetes API listens.
    pub listen: SocketAddr,
    /// The container engine's address.
    pub engine: String,
    /// Where the admin kubeconfig is written.
    pub kubeconfig: PathBuf,
    /// How many engine calls may be under way at once.
    pub concurrency: usize,
    /// How often everything is listed and compared, events or not.
    pub relist: Duration,
    /// How many audit records are kept.
    pub audit_records: u64,
    /// How logs are written.
    pub log_format: LogFormat,
    /// What is logged, as `tracing`'s filter: `info`, `clos=debug`.
    pub log_filter: Filter,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One thing that can be set: the same word in the file, in the environment and as a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// `data-dir`
    DataDir,
    /// `dir`: folders separated by `:`
    Dir,
    /// `listen`
    Listen,
    /// `engine`
    Engine,
    /// `kubeconfig`
    Kubeconfig,
    /// `concurrency`
    Concurrency,
    /// `relist`
    Relist,
    /// `audit-records`
    AuditRecords,
    /// `log-format`
    LogFormat,
    /// `log`
    Log,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::DataDir,
        Self::Dir,
        Self::Listen,
        Self::Engine,
        Self::Kubeconfig,
        Self::Concurrency,
        Self::Relist,
        Self::AuditRecords,
        Self::LogFormat,
        Self::Log,
    ];

    /// The word in the file and, after `--`, on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::DataDir => "data-dir",
            Self::Dir => "dir",
            Self::Listen => "listen",
            Self::Engine => "engine",
            Self::Kubeconfig => "kubeconfig",
            Self::Concurrency => "concurrency",
            Self::Relist => "relist",
            Self::AuditRecords => "audit-records",
            Self::LogFormat => "log-format",
            Self::Log => "log",
        }
    }

    /// The environment variables that set it, the stronger one first.
    pub fn variables(self) -> &'static [&'static str] {
        match self {
            Self::DataDir => &["CLOS_DATA_DIR"],
            Self::Dir => &["CLOS_DIR"],
            Self::Listen => &["CLOS_LISTEN"],
            Self::Engine => &["CLOS_ENGINE", "DOCKER_HOST"],
            Self::Kubeconfig => &["CLOS_KUBECONFIG"],
            Self::Concurrency => &["CLOS_CONCURRENCY"],
            Self::Relist => &["CLOS_RELIST"],
            Self::AuditRecords => &["CLOS_AUDIT_RECORDS"],
            Self::LogFormat => &["CLOS_LOG_FORMAT"],
            Self::Log => &["CLOS_LOG"],
        }
    }
}

/// Values from one place, as text, each with where it stands (`--listen`, `CLOS_LISTEN`, `/etc/clos/clos.yaml: listen`).
#[derive(Clone, Debug, Default)]
pub struct Layer {
    values: BTreeMap<Setting, (String, String)>,
    /// What could not be read at all, for [`Config::resolve`] to report with everything else.
    mistakes: Vec<String>,
}

impl Layer {
    /// A layer from flags; those not given are none.
    pub fn flags(values: impl IntoIterator<Item = (Setting, Option<String>)>) -> Self {
        let given = values.into_iter().filter_map(|(setting, value)| {
            Some((setting, (value?, format!("--{}", setting.word()))))
        });
        Self {
            values: given.collect(),
            mistakes: Vec::new(),
        }
    }

    /// A layer from the environment. Empty variables count as not set.
    pub fn environment(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut values = BTreeMap::new();
        for setting in Setting::ALL {
            for variable in setting.variables() {
                if let Some(value) = lookup(variable).filter(|value| !value.is_empty()) {
                    values.insert(setting, (value, (*variable).to_owned()));
                    break;
                }
            }
        }
        Self {
            values,
            mistakes: Vec::new(),
        }
    }

    /// A layer from a configuration file's text. `path` is for messages.
    pub fn file(path: &Path, text: &str) -> Self {
        let mut layer = Self::default();
        // An empty file, or one of comments, sets nothing.
        let read = serde_saphyr::from_str::<Option<BTreeMap<String, serde_json::Value>>>(text);
        let read = read.unwrap_or_else(|error| {
            let place = path.display();
            layer
                .mistakes
                .push(format!("{place}: not a YAML map of settings: {error}"));
            None
        });
        layer.read(path, read.unwrap_or_default());
        layer
    }

    fn read(&mut self, path: &Path, read: BTreeMap<String, serde_json::Value>) {
        for (word, value) in read {
            let Some(setting) = Setting::ALL
                .into_iter()
                .find(|setting| setting.word() == word)
            else {
                let known: Vec<&str> = Setting::ALL.into_iter().map(Setting::word).collect();
                self.mistakes.push(format!(
                    "{}: {word}: unknown setting; there are {}",
                    path.display(),
                    known.join(", ")
                ));
                continue;
            };
            let text = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Array(items) => {
                    let items: Vec<String> = items
                        .iter()
                        .map(|item| {
                            item.as_str()
                                .map_or_else(|| item.to_string(), str::to_owned)
                        })
                        .collect();
                    items.join(":")
                }
                other => other.to_string(),
            };
            self.values
                .insert(setting, (text, format!("{}: {word}", path.display())));
        }
    }
}

/// Every mistake of a configuration, each with where it stands and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Mistakes(pub Vec<String>);

/// What the defaults depend on.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Whether the process runs as root.
    pub root: bool,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// `XDG_DATA_HOME`, when set.
    pub xdg_data_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, when set.
    pub xdg_config_home: Option<PathBuf>,
}

impl Surroundings {
    /// Where the data lies unless said otherwise.
    pub fn data_dir(&self) -> PathBuf {
        match (&self.xdg_data_home, &self.home) {
            _ if self.root => PathBuf::from("/var/lib/clos"),
            (Some(data), _) => data.join("clos"),
            (None, Some(home)) => home.join(".local/share/clos"),
            (None, None) => PathBuf::from("clos-data"),
        }
    }

    /// The folder of the user's own configuration: the kubeconfig, and `config.yaml` if there is one.
    pub fn config_dir(&self) -> PathBuf {
        match (&self.xdg_config_home, &self.home) {
            (Some(config), _) => config.join("clos"),
            (None, Some(home)) => home.join(".config/clos"),
            (None, None) => PathBuf::from("clos-config"),
        }
    }
}

impl Config {
    /// The configuration that the layers give, the later ones winning.
    pub fn resolve(surroundings: &Surroundings, layers: &[Layer]) -> Result<Self, Mistakes> {
        let unread = layers.iter().flat_map(|layer| layer.mistakes.clone());
        let mut reader = Reader {
            layers,
            mistakes: unread.collect(),
        };
        let config = Self {
            data_dir: reader
                .path(Setting::DataDir)
                .unwrap_or_else(|| surroundings.data_dir()),
            dirs: reader.dirs(),
            listen: reader
                .parse(
                    Setting::Listen,
                    "an address and a port, such as 127.0.0.1:8081",
                )
                .unwrap_or(DEFAULT_LISTEN),
            engine: reader
                .text(Setting::Engine)
                .map_or_else(|| DEFAULT_ENGINE.to_owned(), |(text, _)| text),
            kubeconfig: reader
                .path(Setting::Kubeconfig)
                .unwrap_or_else(|| surroundings.config_dir().join("kubeconfig")),
            concurrency: reader
                .within(Setting::Concurrency, 1, 64)
                .and_then(|number| usize::try_from(number).ok())
                .unwrap_or(8),
            relist: reader
                .at_least(Setting::Relist, Duration::from_secs(1))
                .unwrap_or(Duration::from_mins(1)),
            audit_records: reader
                .within(Setting::AuditRecords, 1000, 100_000_000)
                .unwrap_or(DEFAULT_AUDIT_RECORDS),
            log_format: reader
                .word(
                    Setting::LogFormat,
                    &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                )
                .unwrap_or(LogFormat::Text),
            log_filter: reader
                .parse(
                    Setting::Log,
                    "a log filter, such as info, or info,clos_engine=debug",
                )
                .unwrap_or_else(|| DEFAULT_LOG.parse().expect("a constant that parses")),
        };
        if reader.mistakes.is_empty() {
            Ok(config)
        } else {
            Err(Mistakes(reader.mistakes))
        }
    }
}

/// So few that a start, which verifies every page of the store, stays well below a second.
const DEFAULT_AUDIT_RECORDS: u64 = 200_000;
/// What is logged unless said otherwise.
const DEFAULT_LOG: &str = "warn,clos=info";
/// Where the Kubernetes API listens unless said otherwise.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);
/// Where the engine is looked for unless said otherwise.
pub const DEFAULT_ENGINE: &str = "unix:///var/run/docker.sock";

struct Reader<'a> {
    layers: &'a [Layer],
    mistakes: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, setting: Setting) -> Option<(String, String)> {
        self.layers
            .iter()
            .rev()
            .find_map(|layer| layer.values.get(&setting).cloned())
    }

    fn dirs(&mut self) -> Vec<PathBuf> {
        let Some((text, place)) = self.text(Setting::Dir) else {
            return Vec::new();
        };
        let folders: Vec<PathBuf> = std::env::split_paths(&text).collect();
        let wrong = folders::mistakes(&folders);
        self.mistakes
            .extend(wrong.into_iter().map(|wrong| format!("{place}: {wrong}")));
        folders
    }

    fn path(&self, setting: Setting) -> Option<PathBuf> {
        self.text(setting).map(|(text, _)| PathBuf::from(text))
    }

    fn parse<T: std::str::FromStr>(&mut self, setting: Setting, wanted: &str) -> Option<T> {
        let (text, place) = self.text(setting)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.mistakes
                .push(format!("{place}: {text:?} is not {wanted}"));
        }
        parsed
    }

    fn at_least(&mut self, setting: Setting, least: Duration) -> Option<Duration> {
        let (text, place) = self.text(setting)?;
        match text.parse::<WrittenDuration>().map(WrittenDuration::get) {
            Ok(duration) if duration >= least => Some(duration),
            Ok(_) | Err(_) => {
                self.mistakes.push(format!(
                    "{place}: {text:?} is not a duration of {} s or more, such as 60s",
                    least.as_secs()
                ));
                None
            }
        }
    }

    fn within(&mut self, setting: Setting, least: u64, most: u64) -> Option<u64> {
        let (text, place) = self.text(setting)?;
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            Ok(_) | Err(_) => {
                self.mistakes.push(format!(
                    "{place}: {text:?} is not a number from {least} to {most}"
                ));
                None
            }
        }
    }

    fn word<T: Copy>(&mut self, setting: Setting, words: &[(&str, T)]) -> Option<T> {
        let (text, place) = self.text(setting)?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.mistakes.push(format!(
                "{place}: {text:?} is not one of {}",
                known.join(", ")
            ));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Surroundings {
        Surroundings {
            home: Some(PathBuf::from("/home/ada")),
            ..Surroundings::default()
        }
    }

    fn flags(values: &[(Setting, &str)]) -> Layer {
        Layer::flags(
            values
                .iter()
                .map(|(setting, value)| (*setting, Some((*value).to_owned()))),
        )
    }

    #[test]
    fn data_lies_under_var_lib_for_root_and_under_the_home_for_others() {
        let config = Config::resolve(
            &Surroundings {
                root: true,
                ..home()
            },
            &[],
        )
        .unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/var/lib/clos"));
        let config = Config::resolve(&home(), &[]).unwrap();
        assert_eq!(
            config.data_dir,
            PathBuf::from("/home/ada/.local/share/clos")
        );
        assert_eq!(
            config.kubeconfig,
            PathBuf::from("/home/ada/.config/clos/kubeconfig")
        );
        let xdg = Surroundings {
            xdg_data_home: Some(PathBuf::from("/data")),
            ..home()
        };
        assert_eq!(
            Config::resolve(&xdg, &[]).unwrap().data_dir,
            PathBuf::from("/data/clos")
        );
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let file = Layer::file(
            Path::new("clos.yaml"),
            "listen: 127.0.0.1:1\nconcurrency: 1\nrelist: 1m\ndir: [a, b]",
        );
        let environment = Layer::environment(|name| match name {
            "CLOS_LISTEN" => Some("127.0.0.1:2".to_owned()),
            "CLOS_CONCURRENCY" => Some("2".to_owned()),
            _ => None,
        });
        let flags = flags(&[(Setting::Listen, "127.0.0.1:3")]);
        let config = Config::resolve(&home(), &[file, environment, flags]).unwrap();
        assert_eq!(config.listen.port(), 3);
        assert_eq!(config.concurrency, 2);
        assert_eq!(config.relist, Duration::from_mins(1));
        assert_eq!(config.dirs, [PathBuf::from("a"), PathBuf::from("b")]);
    }

    #[test]
    fn clos_engine_wins_over_docker_host_and_an_empty_variable_is_none() {
        let both = Layer::environment(|name| match name {
            "CLOS_ENGINE" => Some("unix:///a".to_owned()),
            "DOCKER_HOST" => Some("unix:///b".to_owned()),
            _ => None,
        });
        assert_eq!(
            Config::resolve(&home(), &[both]).unwrap().engine,
            "unix:///a"
        );
        let empty = Layer::environment(|name| (name == "DOCKER_HOST").then(String::new));
        assert_eq!(
            Config::resolve(&home(), &[empty]).unwrap().engine,
            DEFAULT_ENGINE
        );
    }

    #[test]
    fn i12_every_mistake_is_reported_at_once_with_its_place_and_what_would_be_right() {
        let file = Layer::file(
            Path::new("clos.yaml"),
            "concurrency: 0\nlog-format: xml\nlog: info,clos=loud\nlisden: 1\nconfirm-removals: true",
        );
        let environment =
            Layer::environment(|name| (name == "CLOS_AUDIT_RECORDS").then(|| "many".to_owned()));
        let flags = flags(&[
            (Setting::Listen, "8081"),
            (Setting::Relist, "60"),
            (Setting::Dir, "/a/shop:/b/shop"),
        ]);
        let mistakes = Config::resolve(&home(), &[file, environment, flags]).unwrap_err();
        insta::assert_snapshot!(mistakes, @r#"
        clos.yaml: confirm-removals: unknown setting; there are data-dir, dir, listen, engine, kubeconfig, concurrency, relist, audit-records, log-format, log
        clos.yaml: lisden: unknown setting; there are data-dir, dir, listen, engine, kubeconfig, concurrency, relist, audit-records, log-format, log
        --dir: /a/shop and /b/shop would both be the source "shop", after the last part of their paths, and each would remove what the other declares; rename one of them
        --listen: "8081" is not an address and a port, such as 127.0.0.1:8081
        clos.yaml: concurrency: "0" is not a number from 1 to 64
        --relist: "60" is not a duration of 1 s or more, such as 60s
        CLOS_AUDIT_RECORDS: "many" is not a number from 1000 to 100000000
        clos.yaml: log-format: "xml" is not one of text, json
        clos.yaml: log: "info,clos=loud" is not a log filter, such as info, or info,clos_engine=debug
        "#);
    }

    #[test]
    fn a_file_that_is_no_map_is_a_mistake_and_an_empty_one_is_none() {
        for text in ["- a\n- b\n", "listen: [", "just words"] {
            let file = Layer::file(Path::new("clos.yaml"), text);
            let mistakes = Config::resolve(&home(), &[file]).unwrap_err();
            assert!(
                mistakes
                    .to_string()
                    .starts_with("clos.yaml: not a YAML map of settings: "),
                "{mistakes}"
            );
        }
        for text in ["", "# nothing yet\n", "{}"] {
            let file = Layer::file(Path::new("clos.yaml"), text);
            let config = Config::resolve(&home(), &[file]).unwrap();
            assert_eq!(config, Config::resolve(&home(), &[]).unwrap(), "{text:?}");
        }
    }

    #[test]
    fn the_bounds_themselves_are_right_and_what_lies_beyond_them_is_not() {
        for (setting, right, wrong) in [
            (Setting::Concurrency, ["1", "64"], ["0", "65"]),
            (Setting::Relist, ["1s", "24h"], ["999ms", "0s"]),
            (
                Setting::AuditRecords,
                ["1000", "100000000"],
                ["999", "100000001"],
            ),
            (Setting::LogFormat, ["text", "json"], ["Text", ""]),
            (
                Setting::Listen,
                ["0.0.0.0:0", "[::1]:8081"],
                ["localhost:1", ":8081"],
            ),
        ] {
            let resolved = |value| Config::resolve(&home(), &[flags(&[(setting, value)])]);
            for value in right {
                assert!(resolved(value).is_ok(), "{} {value}", setting.word());
            }
            for value in wrong {
                let said = resolved(value).unwrap_err().to_string();
                let begins = format!("--{}: {value:?} is not ", setting.word());
                assert!(said.starts_with(&begins), "{said}");
            }
        }
    }

    #[test]
    fn every_setting_is_one_word_of_the_file_one_flag_and_variables_of_its_own() {
        let mut words: Vec<&str> = Setting::ALL.into_iter().map(Setting::word).collect();
        let mut variables: Vec<&str> = Setting::ALL
            .into_iter()
            .flat_map(|setting| setting.variables().iter().copied())
            .collect();
        for names in [&mut words, &mut variables] {
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
        for setting in Setting::ALL {
            let upper = setting.word().to_uppercase().replace('-', "_");
            assert_eq!(setting.variables()[0], format!("CLOS_{upper}"));
            // Each place sets the same thing: a value that is wrong for it is named with that place.
            let file = Layer::file(Path::new("f"), &format!("{}: x", setting.word()));
            let environment =
                Layer::environment(|name| (name == setting.variables()[0]).then(|| "x".to_owned()));
            let by_flag = flags(&[(setting, "x")]);
            let resolved = [file, environment, by_flag].map(|layer| {
                Config::resolve(&home(), &[layer]).map_err(|mistakes| mistakes.0.len())
            });
            assert!(resolved[0] == resolved[1] && resolved[1] == resolved[2]);
        }
    }
}
