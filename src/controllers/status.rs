//! Writing an object's status: as a merge patch on `/status`, and only when it differs from what is there. What a status says is
//! planning and is not here.

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Who manages the fields that controllers write.
pub(crate) const FIELD_MANAGER: &str = "clos-controllers";

/// A status could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// It has no JSON form.
    #[error("the status of {name} has no JSON form")]
    Unserialisable {
        /// The object's name.
        name: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// The API refused it or did not answer.
    #[error("cannot write the status of {name}")]
    Write {
        /// The object's name.
        name: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
}

/// Writes `next` if it differs from `previous`, to the object of this name and UID. Answers whether it wrote.
pub(crate) async fn write_status<K, S>(
    api: &Api<K>,
    name: &str,
    uid: &str,
    previous: Option<&S>,
    next: &S,
) -> Result<bool, StatusError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
    S: Serialize + PartialEq,
{
    if previous == Some(next) {
        return Ok(false);
    }
    let value = |status: &S| {
        serde_json::to_value(status).map_err(|source| StatusError::Unserialisable {
            name: name.to_owned(),
            source,
        })
    };
    let previous = previous.map(value).transpose()?.unwrap_or(Value::Null);
    // The UID keeps the patch from an object that was made anew under the same name.
    let patch =
        json!({ "metadata": { "uid": uid }, "status": replacement(&previous, value(next)?) });
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    #[cfg(feature = "failpoints")]
    clos_failpoints::before("write status");
    api.patch_status(name, &params, &Patch::Merge(&patch))
        .await
        .map_err(|source| StatusError::Write {
            name: name.to_owned(),
            source,
        })?;
    #[cfg(feature = "failpoints")]
    clos_failpoints::after("write status");
    Ok(true)
}

/// `next`, with a null for each field that only `previous` has: a merge patch keeps what it does not name.
fn replacement(previous: &Value, next: Value) -> Value {
    match (previous, next) {
        (Value::Object(previous), Value::Object(mut next)) => {
            for (key, old) in previous {
                let new = next
                    .remove(key)
                    .map_or(Value::Null, |new| replacement(old, new));
                next.insert(key.clone(), new);
            }
            Value::Object(next)
        }
        (_, next) => next,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::replacement;

    #[test]
    fn what_is_no_longer_there_is_written_as_null() {
        let previous =
            json!({ "state": "BackOff", "exitCode": 1, "backoff": { "faults": 2, "note": "x" } });
        let next = json!({ "state": "Running", "ready": "1/1", "backoff": { "faults": 3 } });
        assert_eq!(
            replacement(&previous, next),
            json!({ "state": "Running", "ready": "1/1", "exitCode": null, "backoff": { "faults": 3, "note": null } })
        );
    }
}
