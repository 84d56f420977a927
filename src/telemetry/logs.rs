//! The log output: where lines go and how they look. What is logged is decided where it happens.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
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

/// The engine's client tells whole request bodies below this level, values of secrets included.
const ENGINE_CLIENT: &str = "bollard=info";

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter is not one.
    #[error(
        "the log filter {filter:?} is not valid; \
         give a level such as \"info\", or targets such as \"info,clos_engine=debug\""
    )]
    Filter {
        /// The text as the user gave it.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// A second call in the same process.
    #[error("logging is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends all logs of this process to standard error, from now on.
///
/// `filter` is a level (`info`) or a list of targets with levels (`info,clos_engine=debug`).
pub fn init(format: Format, filter: &str) -> Result<(), InitError> {
    let colours = io::stderr().is_terminal();
    subscriber(format, filter, colours, io::stderr)?
        .try_init()
        .map_err(InitError::Twice)
}

fn subscriber<W>(
    format: Format,
    filter: &str,
    colours: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, InitError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let parsed = EnvFilter::try_new(filter).map_err(|source| InitError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let parsed = parsed.add_directive(ENGINE_CLIENT.parse().expect("a constant that parses"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(writer);
    Ok(match format {
        // Only ever switched off: switching it on would override the user's NO_COLOR.
        Format::Text if colours => Box::new(lines.finish()),
        Format::Text => Box::new(lines.with_ansi(false).finish()),
        Format::Json => Box::new(lines.json().flatten_event(true).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::{Format, InitError, subscriber};

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
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "clos_engine", container = "web\n0", "started");
            tracing::debug!(target: "clos_engine", "only for developers");
        });
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
    fn a_wrong_filter_says_what_would_be_right() {
        let error = subscriber(Format::Text, "info,clos=loud", false, io::sink).err();
        let Some(error @ InitError::Filter { .. }) = error else {
            panic!("{error:?}");
        };
        insta::assert_snapshot!(error, @r#"the log filter "info,clos=loud" is not valid; give a level such as "info", or targets such as "info,clos_engine=debug""#);
    }
}
