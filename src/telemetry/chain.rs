//! The one printer of error chains. Which errors exist, and whether they are retried, is the
//! crates' own business.

use std::error::Error;
use std::fmt;

/// Prints an error and its causes on one line: `cannot open the store: cannot read /x: permission
/// denied`.
///
/// A cause that the text before it already ends with is left out, because many libraries
/// repeat their source in their own message.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut outer = self.0.to_string();
        f.write_str(&outer)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !text.is_empty() && !outer.ends_with(&text) {
                write!(f, ": {text}")?;
                outer = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::Chain;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        #[source]
        source: Option<Box<dyn std::error::Error>>,
    }

    fn layers(texts: &[&'static str]) -> Layer {
        let (text, inner) = texts.split_first().expect("at least one layer");
        Layer {
            text,
            source: (!inner.is_empty()).then(|| layers(inner).into()),
        }
    }

    #[test]
    fn every_cause_is_printed_once_from_the_outside_in() {
        let error = layers(&["cannot start", "cannot open the store", "disk full"]);
        assert_eq!(
            Chain(&error).to_string(),
            "cannot start: cannot open the store: disk full"
        );
    }

    #[test]
    fn a_cause_the_outer_text_already_ends_with_is_not_repeated() {
        let error = layers(&[
            "cannot start",
            "request failed: connection refused",
            "connection refused",
        ]);
        assert_eq!(
            Chain(&error).to_string(),
            "cannot start: request failed: connection refused"
        );
    }

    #[test]
    fn causes_below_a_repeated_one_are_still_printed() {
        let error = layers(&["request failed: send", "send", "", "broken pipe"]);
        assert_eq!(
            Chain(&error).to_string(),
            "request failed: send: broken pipe"
        );
    }

    #[test]
    fn an_error_without_a_cause_prints_as_itself() {
        let error = io::Error::other("no such network");
        assert_eq!(Chain(&error).to_string(), "no such network");
    }
}
