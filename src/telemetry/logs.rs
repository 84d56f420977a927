//! The log output: where lines go and how they look. What is logged is decided where it happens.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// How a log line looks. Both carry the time as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line for people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// What is logged: a level (`info`) or a list of targets with levels (`info,clos_engine=debug`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

impl FromStr for Filter {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        EnvFilter::try_new(text).map(|_| Self(text.to_owned()))
    }
}

/// The libraries that carry requests and answers. Below `info` they tell what passes through them, values of secrets included: the
/// engine's client whole bodies, the others headers and frames.
const CARRIERS: [&str; 7] = [
    "bollard",
    "bollard_stubs",
    "h2",
    "hyper",
    "hyper_util",
    "rustls",
    "tokio_rustls",
];

/// Whether a line may be written at all, whatever the filter says.
fn tells_no_secret(line: &Metadata<'_>) -> bool {
    let library = line.target().split("::").next().unwrap_or_default();
    *line.level() <= Level::INFO || !CARRIERS.contains(&library)
}

/// Logging is set up already in this process.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already")]
pub struct InitError(#[source] tracing_subscriber::util::TryInitError);

/// Sends all logs of this process to standard error, from now on.
pub fn init(format: Format, filter: &Filter) -> Result<(), InitError> {
    let colours = io::stderr().is_terminal();
    subscriber(format, filter, colours, io::stderr)
        .try_init()
        .map_err(InitError)
}

fn subscriber<W>(
    format: Format,
    filter: &Filter,
    colours: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&filter.0))
        .with_writer(writer);
    let no_secrets = filter_fn(tells_no_secret);
    match format {
        // Only ever switched off: switching it on would override the user's NO_COLOR.
        Format::Text if colours => Box::new(lines.finish().with(no_secrets)),
        Format::Text => Box::new(lines.with_ansi(false).finish().with(no_secrets)),
        Format::Json => Box::new(lines.json().flatten_event(true).finish().with(no_secrets)),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::{Filter, Format, subscriber};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str) -> String {
        written(format, filter, || {
            tracing::info!(target: "clos_engine", container = "web\n0", "started");
            tracing::debug!(target: "clos_engine", "only for developers");
        })
    }

    fn written(format: Format, filter: &str, write: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = filter.parse().unwrap();
        let subscriber = subscriber(format, &filter, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, write);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_with_an_rfc_3339_time_and_flat_fields() {
        let text = logged(Format::Json, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "started");
        assert_eq!(line["container"], "web\n0");
        assert_eq!(line["level"], "INFO");
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    }

    #[test]
    fn a_text_line_holds_the_message_and_no_colour_codes_off_a_terminal() {
        let text = logged(Format::Text, "info");
        assert!(text.contains("started"), "{text}");
        assert!(text.contains("INFO"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().count(), 1, "a field broke the line: {text:?}");
    }

    #[test]
    fn the_filter_chooses_by_target() {
        assert!(logged(Format::Text, "warn,clos_engine=debug").contains("only for developers"));
        assert!(logged(Format::Text, "debug,clos_engine=error").is_empty());
    }

    #[test]
    fn i9_no_filter_makes_the_libraries_tell_what_passes_through_them() {
        for filter in [
            "trace",
            "trace,bollard::docker=trace",
            "warn,bollard::docker=debug",
            "off,bollard=trace,hyper=trace,h2=trace,rustls=trace,hyper_util=trace",
        ] {
            for format in [Format::Text, Format::Json] {
                let text = written(format, filter, || {
                    tracing::debug!(target: "bollard::docker", "PW=hunter2");
                    tracing::trace!(target: "bollard::docker", "PW=hunter2");
                    tracing::trace!(target: "hyper::proto::h1", "PW=hunter2");
                    tracing::debug!(target: "hyper_util", "PW=hunter2");
                    tracing::debug!(target: "h2::codec", "PW=hunter2");
                    tracing::trace!(target: "rustls::client", "PW=hunter2");
                    tracing::warn!(target: "bollard::docker", "slow");
                });
                assert!(!text.contains("hunter2"), "{filter}: {text}");
                assert!(text.contains("slow"), "{filter}: {text}");
            }
        }
    }

    #[test]
    fn a_wrong_filter_is_found_before_anything_is_logged() {
        for wrong in ["info,clos=loud", "a=b=c"] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
    }
}
