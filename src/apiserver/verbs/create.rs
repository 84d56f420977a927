//! POST: a new object under its own or a generated name.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::admission::{self, Validation};
use super::{Call, answer, options};
use crate::metadata::generated_name;
use crate::request::body;
use crate::request::media::{Offer, Output};
use crate::status::{ApiError, Reason};
use crate::storage::{Terms, decode};

/// How often a generated name that is taken is replaced by another.
const GENERATIONS: usize = 8;

/// Stores the object of the body.
pub(super) async fn create(call: &mut Call) -> Result<Response, ApiError> {
    let output = Output::negotiate(&call.headers, Offer::Single)?;
    let dry_run = options::dry_run(call)?;
    let validation = Validation::of(&call.query)?;
    let decoded = body::decode(&call.headers, &call.body)?;
    let mut object = admission::addressed(call, decoded, validation)?;
    let generated = name_from_prefix(&object);
    for attempt in 1.. {
        if let Some(base) = &generated {
            object["metadata"]["name"] = json!(generated_name(base, rand::random()));
        }
        let admitted = admission::new_object(call, object.clone(), validation)?;
        namespace_takes_objects(call, &admitted)?;
        let terms = Terms {
            dry_run,
            retry: false,
            record: &|object: &Value| call.record(object, 201),
        };
        match call
            .state
            .storage
            .create(&call.kind, admitted, &terms)
            .await
        {
            Ok(created) => return answer::object(call, output, StatusCode::CREATED, created),
            Err(error) if generated.is_some() && error.reason() == Reason::AlreadyExists => {
                if attempt == GENERATIONS {
                    let name = object["metadata"]["name"].as_str().unwrap_or_default();
                    return Err(ApiError::generate_name_conflict(
                        &call.kind.group,
                        &call.kind.plural,
                        name,
                    ));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::internal("no name was generated"))
}

/// The prefix to generate a name from, when the object asks for that and has no name.
fn name_from_prefix(object: &Value) -> Option<String> {
    let metadata = &object["metadata"];
    let named = metadata["name"]
        .as_str()
        .is_some_and(|name| !name.is_empty());
    let prefix = metadata["generateName"]
        .as_str()
        .filter(|prefix| !prefix.is_empty())?;
    (!named).then(|| prefix.to_owned())
}

/// New objects need a namespace that exists and is not being deleted.
fn namespace_takes_objects(call: &Call, object: &Value) -> Result<(), ApiError> {
    let Some(namespace) = call.namespace() else {
        return Ok(());
    };
    let kind = call
        .state
        .registry
        .find("", "v1", "namespaces")
        .ok_or_else(|| ApiError::internal("namespaces are not served"))?;
    let entry = call.state.storage.get(kind, None, namespace)?;
    let found = decode(&entry.value, entry.revision).map_err(ApiError::internal)?;
    if found["metadata"].get("deletionTimestamp").is_some() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return Err(ApiError::namespace_terminating(
            &call.kind.group,
            &call.kind.plural,
            name,
            namespace,
        ));
    }
    Ok(())
}
