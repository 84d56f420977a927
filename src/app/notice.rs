//! What a server tells whoever started it, as data and as the lines people read.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clos_resources::host::EngineInfo;

/// One thing worth telling at the start or the end.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// What starts, on what.
    Starting {
        /// Where the data lies.
        data_dir: PathBuf,
        /// The engine it found.
        engine: EngineInfo,
    },
    /// The first start: there are a new authority and a new kubeconfig.
    Created {
        /// Where the kubeconfig lies.
        kubeconfig: PathBuf,
    },
    /// The API answers.
    Listening {
        /// Where.
        url: String,
        /// The kubeconfig to use.
        kubeconfig: PathBuf,
    },
    /// A source was looked at.
    Source {
        /// The folder.
        folder: PathBuf,
        /// How it is, in words, and its mistakes, one a line.
        state: String,
    },
    /// Everything is up.
    Ready {
        /// How long that took.
        took: Duration,
    },
    /// It was asked to stop.
    Stopping,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting { data_dir, engine } => write!(
                f,
                "clos {}  standalone  data {}  engine {} {} (API {})",
                env!("CARGO_PKG_VERSION"),
                data_dir.display(),
                engine.name,
                engine.version,
                engine.api_version
            ),
            Self::Created { kubeconfig } => {
                write!(
                    f,
                    "created a certificate authority and an admin kubeconfig: {}",
                    kubeconfig.display()
                )
            }
            Self::Listening { url, kubeconfig } => {
                write!(
                    f,
                    "Kubernetes API  {url}   try: kubectl --kubeconfig {} get clos -A",
                    kubeconfig.display()
                )
            }
            Self::Source { folder, state } => write!(f, "source {}   {state}", folder.display()),
            Self::Ready { took } => write!(f, "ready in {} ms", took.as_millis()),
            Self::Stopping => f.write_str("stopping; containers go on running"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_reads_like_a_sentence_a_line() {
        let engine = EngineInfo {
            name: "Docker".to_owned(),
            version: "28.5.2".to_owned(),
            api_version: "1.51".to_owned(),
            ..EngineInfo::default()
        };
        let kubeconfig = PathBuf::from("/home/ada/.config/clos/kubeconfig");
        let notices = [
            Notice::Starting {
                data_dir: PathBuf::from("/var/lib/clos"),
                engine,
            },
            Notice::Created {
                kubeconfig: kubeconfig.clone(),
            },
            Notice::Listening {
                url: "https://127.0.0.1:8081".to_owned(),
                kubeconfig,
            },
            Notice::Source {
                folder: PathBuf::from("./shop"),
                state: "3 objects in 2 files, applied".to_owned(),
            },
            Notice::Ready {
                took: Duration::from_millis(212),
            },
            Notice::Stopping,
        ];
        let text: Vec<String> = notices.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n").replace(env!("CARGO_PKG_VERSION"), "VERSION"), @r"
        clos VERSION  standalone  data /var/lib/clos  engine Docker 28.5.2 (API 1.51)
        created a certificate authority and an admin kubeconfig: /home/ada/.config/clos/kubeconfig
        Kubernetes API  https://127.0.0.1:8081   try: kubectl --kubeconfig /home/ada/.config/clos/kubeconfig get clos -A
        source ./shop   3 objects in 2 files, applied
        ready in 212 ms
        stopping; containers go on running
        ");
    }
}
