//! What must never be told: known secret values and things that look like credentials, masked in
//! free text. Which texts are free is said in `event`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

/// What stands in place of a secret.
const MASK: &str = "[redacted]";
/// Shorter values are words and numbers that stand everywhere.
const SHORTEST: usize = 6;

/// Credentials by their form, whoever's they are. The first group is what is masked.
static CREDENTIALS: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    [
        r#"(?i)\bauthorization["']?\s*[:=]\s*["']?((?:[a-z]+\s+)?[^\s"',]+)"#,
        r"(?i)\bbearer\s+([a-z0-9._~+/=-]{16,})",
        r"://[^/\s:@]*:([^/\s@]+)@",
    ]
    .map(|pattern| Regex::new(pattern).expect("the patterns are constant and tested"))
});

/// The secret values that are in use now, and their masking in free text. Clones share the values.
///
/// Whoever reads a Secret to use its values tells them here first. A value is masked as it is,
/// trimmed, quoted with escapes, and in base64; values shorter than six bytes are not, because
/// masking them would leave no text readable. Without being told, masked are the value of an
/// `Authorization` header, bearer tokens, and passwords in URLs.
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<BTreeMap<String, Vec<String>>>>);

impl Redactor {
    /// Takes `values` as all that `owner` (say, `Secret shop/db`) holds now, in place of its
    /// former ones.
    pub fn remember<V: AsRef<[u8]>>(&self, owner: &str, values: impl IntoIterator<Item = V>) {
        let mut forms: Vec<String> = values
            .into_iter()
            .flat_map(|value| forms(value.as_ref()))
            .filter(|form| form.len() >= SHORTEST)
            .collect();
        forms.sort();
        forms.dedup();
        let mut owners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if forms.is_empty() {
            owners.remove(owner);
        } else {
            owners.insert(owner.to_owned(), forms);
        }
    }

    /// Forgets the values of an owner that is gone.
    pub fn forget(&self, owner: &str) {
        let mut owners = self.0.write().unwrap_or_else(PoisonError::into_inner);
        owners.remove(owner);
    }

    /// `text` with every secret replaced by `[redacted]`.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut secrets: Vec<Range<usize>> = Vec::new();
        for pattern in CREDENTIALS.iter() {
            secrets.extend(
                pattern
                    .captures_iter(text)
                    .filter_map(|found| found.get(1))
                    .map(|secret| secret.range()),
            );
        }
        let owners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for form in owners.values().flatten() {
            secrets.extend(occurrences(text, form));
        }
        drop(owners);
        if secrets.is_empty() {
            return Cow::Borrowed(text);
        }
        // All are found before any is replaced: masking one could cut another in two.
        secrets.sort_by_key(|range| range.start);
        let mut masked = String::with_capacity(text.len());
        let mut end = 0;
        for secret in secrets {
            if secret.start >= end {
                masked.push_str(&text[end..secret.start]);
                masked.push_str(MASK);
            }
            end = end.max(secret.end);
        }
        masked.push_str(&text[end..]);
        Cow::Owned(masked)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

/// The texts a value may appear as.
fn forms(value: &[u8]) -> Vec<String> {
    let mut forms = vec![STANDARD.encode(value)];
    if let Ok(text) = std::str::from_utf8(value) {
        let trimmed = text.trim();
        forms.push(text.to_owned());
        forms.push(trimmed.to_owned());
        forms.push(trimmed.escape_debug().to_string());
        forms.push(STANDARD.encode(trimmed));
    }
    forms
}

/// Every place of `form` in `text`, those that overlap as well.
fn occurrences<'t>(text: &'t str, form: &'t str) -> impl Iterator<Item = Range<usize>> {
    let step = form.chars().next().map_or(1, char::len_utf8);
    let mut from = 0;
    std::iter::from_fn(move || {
        let start = from + text.get(from..)?.find(form)?;
        from = start + step;
        Some(start..start + form.len())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Redactor;

    const CANARY: &str = "i9_c4nary\"value";

    fn knowing(values: &[&str]) -> Redactor {
        let redactor = Redactor::default();
        redactor.remember("Secret shop/db", values);
        redactor
    }

    #[test]
    fn i9_a_known_value_is_masked_in_every_form() {
        let redactor = knowing(&[&format!("{CANARY}\n")]);
        for (text, masked) in [
            (
                format!("bad password {CANARY}!"),
                "bad password [redacted]!",
            ),
            (format!("got {CANARY:?}"), "got \"[redacted]\""),
            ("key aTlfYzRuYXJ5InZhbHVl.".to_owned(), "key [redacted]."),
            (
                "key aTlfYzRuYXJ5InZhbHVlCg==.".to_owned(),
                "key [redacted].",
            ),
            (format!("{CANARY}{CANARY}"), "[redacted][redacted]"),
            ("nothing to hide".to_owned(), "nothing to hide"),
        ] {
            assert_eq!(redactor.mask(&text), masked, "{text}");
        }
    }

    #[test]
    fn i9_values_that_overlap_leave_no_part_of_either() {
        let redactor = knowing(&["i9_abcdef", "defghi_9i"]);
        assert_eq!(redactor.mask("<i9_abcdefghi_9i>"), "<[redacted]>");
        let redactor = knowing(&["i9_outer_long", "9_oute"]);
        assert_eq!(redactor.mask("<i9_outer_long>"), "<[redacted]>");
        let redactor = knowing(&["ababab"]);
        assert_eq!(redactor.mask("<abababab>"), "<[redacted]>");
    }

    #[test]
    fn i9_credentials_are_known_by_their_form() {
        let redactor = Redactor::default();
        for (text, masked) in [
            ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
            (
                "{\"authorization\":\"Basic eDp5\"}",
                "{\"authorization\":\"[redacted]\"}",
            ),
            (
                "sent bearer i9_0123456789abcdef to it",
                "sent bearer [redacted] to it",
            ),
            (
                "cannot clone https://git:i9_pw@example.org/x",
                "cannot clone https://git:[redacted]@example.org/x",
            ),
            (
                "basic health check at http://host:80/",
                "basic health check at http://host:80/",
            ),
        ] {
            assert_eq!(redactor.mask(text), masked);
        }
    }

    #[test]
    fn short_values_would_mask_everything_and_are_left() {
        let redactor = knowing(&["true", "80"]);
        assert_eq!(redactor.mask("true at port 80"), "true at port 80");
    }

    #[test]
    fn an_owners_values_are_replaced_and_forgotten() {
        let redactor = knowing(&["i9_old_value"]);
        let text = "i9_old_value i9_new_value";
        redactor.remember("Secret shop/other", ["i9_old_value"]);
        redactor.remember("Secret shop/db", ["i9_new_value"]);
        assert_eq!(redactor.mask(text), "[redacted] [redacted]");
        redactor.forget("Secret shop/other");
        assert_eq!(redactor.mask(text), "i9_old_value [redacted]");
        redactor.remember("Secret shop/db", [""; 0]);
        assert_eq!(redactor.mask(text), text);
    }

    #[test]
    fn i9_debug_output_holds_no_value() {
        assert_eq!(format!("{:?}", knowing(&["i9_canary"])), "Redactor");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn i9_no_known_value_survives_in_any_text(
            secrets in prop::collection::vec("[a-cé]{6,9}", 1..4),
            parts in prop::collection::vec("[a-cé :]{0,12}", 1..6),
            order in prop::collection::vec(0_usize..4, 0..6),
        ) {
            let redactor = Redactor::default();
            redactor.remember("all", &secrets);
            let mut text = parts.concat();
            for index in order {
                text.push_str(&secrets[index % secrets.len()]);
                text.push_str(&parts[index % parts.len()]);
            }
            let masked = redactor.mask(&text);
            for secret in &secrets {
                prop_assert!(!masked.contains(secret.as_str()), "{masked} holds {secret}");
            }
        }
    }
}
