//! What the API says against an object, in the words and with the places of the user's file.

use kube::core::Status;

use crate::manifest::{Declared, Mistake};

/// What a server says when broken types keep it from judging further: nothing that a user could mend.
const NOT_JUDGED: &str = "some validation rules were not checked";

/// The mistakes that a refusal names.
pub(crate) fn mistakes_of(declared: &Declared, status: &Status) -> Vec<Mistake> {
    let strict = strict_findings(&status.message);
    if !strict.is_empty() {
        return strict
            .into_iter()
            .map(|(path, message)| declared.mistake(&path, message))
            .collect();
    }
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    let mistakes: Vec<Mistake> = causes
        .iter()
        .filter(|cause| !cause.message.contains(NOT_JUDGED))
        .map(|cause| {
            let path = if cause.field == "<nil>" {
                ""
            } else {
                cause.field.as_str()
            };
            let message = if declared.kind() == "Secret" {
                without_value(&cause.message)
            } else {
                plain(path, &cause.message)
            };
            declared.mistake(path, message)
        })
        .collect();
    if mistakes.is_empty() {
        return vec![declared.mistake("", status.message.clone())];
    }
    mistakes
}

/// The fields that strict validation does not accept, with what is wrong about each. They come as one sentence.
fn strict_findings(message: &str) -> Vec<(String, String)> {
    let Some((_, mut rest)) = message.split_once("strict decoding error: ") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    loop {
        let (what, after) = if let Some(after) = rest.strip_prefix("unknown field \"") {
            ("unknown field", after)
        } else if let Some(after) = rest.strip_prefix("duplicate field \"") {
            ("stands twice; leave one out", after)
        } else {
            return findings;
        };
        let Some((path, after)) = after.split_once('"') else {
            return findings;
        };
        rest = after;
        let mut sentence = what.to_owned();
        if let Some((meant, after)) = rest
            .strip_prefix(", did you mean \"")
            .and_then(|rest| rest.split_once("\"?"))
        {
            sentence = format!("{sentence}; did you mean \"{meant}\"?");
            rest = after;
        }
        findings.push((path.to_owned(), sentence));
        rest = rest.strip_prefix(", ").unwrap_or(rest);
    }
}

/// `Invalid value: 80000: spec.x in body should be less than 65535` as `80000 should be less than 65535`.
fn plain(path: &str, message: &str) -> String {
    if let Some(detail) = message.strip_prefix("Forbidden: ") {
        return detail.to_owned();
    }
    if let Some(detail) = message.strip_prefix("Required value") {
        return format!("is missing{}", detail.replacen(": ", "; ", 1));
    }
    let Some(rest) = message.strip_prefix("Invalid value: ") else {
        return message.to_owned();
    };
    if let Some(meant) = rest.strip_prefix("unknown field, ") {
        return format!("unknown field; {meant}");
    }
    let Some((value, detail)) = split_value(rest) else {
        return rest.to_owned();
    };
    let in_body = if path.is_empty() {
        "in body ".to_owned()
    } else {
        format!("{path} in body ")
    };
    match detail.strip_prefix(&in_body) {
        // The value that is told is then the name of its type.
        Some(rule) if rule.starts_with("must be of type ") => {
            let rule = rule.strip_suffix(&format!(": {value}")).unwrap_or(rule);
            let found = value.trim_matches('"');
            if found.is_empty() {
                rule.to_owned()
            } else {
                format!("{rule}, not {found}")
            }
        }
        Some(rule) => format!("{value} {rule}"),
        // Many rules name the value themselves, and a whole mapping says less than the rule.
        None if detail.starts_with(value) || value.starts_with(['{', '[']) => detail.to_owned(),
        None => format!("{value}: {detail}"),
    }
}

/// Splits `"a: b": detail` or `12: detail` into the value and the detail.
fn split_value(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['{', '[', '"']) {
        // The value is JSON or quoted text: it ends where it can be read as a whole.
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
        values.next()?.ok()?;
        let (value, rest) = text.split_at(values.byte_offset());
        return Some((value, rest.strip_prefix(": ")?));
    }
    text.split_once(": ")
}

/// The same without the value, for objects whose values are secret.
fn without_value(message: &str) -> String {
    let Some((label, rest)) = message.split_once(": ") else {
        return message.to_owned();
    };
    match split_value(rest) {
        Some((_, detail))
            if !matches!(
                label,
                "Forbidden" | "Required value" | "Too long" | "Too many"
            ) =>
        {
            if detail.contains('"') {
                "has a value that is not allowed".to_owned()
            } else {
                detail.to_owned()
            }
        }
        Some(_) | None => "has a value that is not allowed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_api_become_the_words_of_users() {
        let cases = [
            (
                "spec.ports[0].hostPort",
                "Invalid value: 80000: 80000 is not a port; give 1 to 65535, or \"auto\"",
            ),
            (
                "spec.healthCheck.http.port",
                "Invalid value: \"htpp\": \"htpp\" names no port of this service; it has: http",
            ),
            (
                "spec.replicas",
                "Invalid value: -1: spec.replicas in body should be greater than or equal to 0",
            ),
            (
                "spec.replicas",
                "Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
            ),
            ("spec.image", "Required value"),
            ("spec.image", "Required value: give an image"),
            (
                "spec.state",
                "Unsupported value: \"On\": supported values: \"Running\", \"Stopped\"",
            ),
            ("spec.healthCheck", "Forbidden: leave it out"),
            (
                "spec",
                "Invalid value: {\"a\":\"b: c\"}: start is not above end",
            ),
            (
                "metadata.name",
                "Invalid value: \"A: b\": a name is lower case",
            ),
            (
                "spec.imagee",
                "Invalid value: unknown field, did you mean \"image\"?",
            ),
        ];
        let lines: Vec<String> = cases
            .iter()
            .map(|(path, message)| format!("{path}: {}", plain(path, message)))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn every_field_of_a_strict_refusal_is_found() {
        let message = "Service in version \"v1\" cannot be handled as a Service: strict decoding error: unknown field \"spec.imagee\", \
                       did you mean \"image\"?, duplicate field \"spec.x\", unknown field \"spec.b\"";
        let findings = strict_findings(message);
        let paths: Vec<&str> = findings.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["spec.imagee", "spec.x", "spec.b"]);
        assert_eq!(findings[0].1, "unknown field; did you mean \"image\"?");
    }

    #[test]
    fn i9_a_secret_s_value_is_never_repeated() {
        for message in [
            "Invalid value: \"hunter2\": not base64",
            "Invalid value: \"hunter2\": \"hunter2\" is not base64",
            "Too long: hunter2",
        ] {
            assert!(!without_value(message).contains("hunter2"), "{message}");
        }
    }
}
