//! What makes an object this object: its name and namespace in the request, a generated name, and what an update takes
//! over from the object it replaces.

use serde_json::{Map, Value, json};

use crate::status::ApiError;

/// Letters that spell no words and are not taken for digits.
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// A generated name is a DNS label at most: 63 letters with the suffix of five.
const MAX_PREFIX: usize = 58;

/// The prefix with a suffix of five letters. `random` are five independent random numbers; a new try on a conflict needs
/// new ones.
pub(crate) fn generated_name(prefix: &str, random: [u32; 5]) -> String {
    let mut name: String = prefix.chars().take(MAX_PREFIX).collect();
    name.extend(random.map(|number| {
        let index = usize::try_from(number).unwrap_or_default() % SUFFIX_LETTERS.len();
        char::from(SUFFIX_LETTERS[index])
    }));
    name
}

/// Puts the request's namespace into the object, or refuses an object that names another one. `None` is a request for a
/// cluster-scoped kind, whose objects have none.
pub(crate) fn claim_namespace(object: &mut Value, namespace: Option<&str>) -> Result<(), ApiError> {
    let metadata = metadata_mut(object)?;
    let Some(namespace) = namespace else {
        metadata.remove("namespace");
        return Ok(());
    };
    match metadata.get("namespace").and_then(Value::as_str) {
        Some(own) if !own.is_empty() && own != namespace => Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request ({own} is not \
             {namespace})"
        ))),
        _ => {
            metadata.insert("namespace".to_owned(), json!(namespace));
            Ok(())
        }
    }
}

/// Puts the name of the request's path into the object, or refuses an object of another name.
pub(crate) fn claim_name(object: &mut Value, name: &str) -> Result<(), ApiError> {
    let metadata = metadata_mut(object)?;
    match metadata.get("name").and_then(Value::as_str) {
        Some(own) if !own.is_empty() && own != name => Err(ApiError::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        ))),
        _ => {
            metadata.insert("name".to_owned(), json!(name));
            Ok(())
        }
    }
}

/// Gives an updated object what clients cannot change or leave out: generation, creation and deletion times, and the uid
/// where it is absent.
pub(crate) fn carry_over(new: &mut Value, old: &Value) -> Result<(), ApiError> {
    let metadata = metadata_mut(new)?;
    metadata.remove("selfLink");
    for name in ["generation", "creationTimestamp", "deletionTimestamp"] {
        match old.get("metadata").and_then(|old| old.get(name)) {
            Some(value) => {
                metadata.insert(name.to_owned(), value.clone());
            }
            // A deletion time that only the client knows is judged as a change.
            None if name == "deletionTimestamp" => {}
            None => {
                metadata.remove(name);
            }
        }
    }
    for name in ["uid", "deletionGracePeriodSeconds"] {
        if let Some(value) = old.get("metadata").and_then(|old| old.get(name)) {
            let absent = metadata
                .get(name)
                .is_none_or(|own| own.is_null() || own == "");
            if absent {
                metadata.insert(name.to_owned(), value.clone());
            }
        }
    }
    Ok(())
}

fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    let Value::Object(fields) = object else {
        return Err(ApiError::bad_request("the body must be a JSON object"));
    };
    let metadata = fields
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    metadata
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("metadata must be an object"))
}
