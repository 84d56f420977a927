//! RFC 6902 patches, with bounds on what a small body can make of an object.

use json_patch::PatchOperation;
use serde_json::Value;

use crate::status::ApiError;

const MAX_OPERATIONS: usize = 10_000;
/// Copies double what they copy from: without a bound a short patch fills the memory. Bytes of JSON.
const MAX_COPIED: usize = 3 * 1024 * 1024;

pub(super) fn apply(current: &Value, body: &[u8]) -> Result<Value, ApiError> {
    let operations: Vec<PatchOperation> = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the body is not a JSON patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(ApiError::too_large(&format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut patched = current.clone();
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        if let PatchOperation::Copy(copy) = operation {
            copied += patched
                .pointer(copy.from.as_str())
                .map_or(0, |value| value.to_string().len());
            if copied > MAX_COPIED {
                return Err(ApiError::too_large(&format!(
                    "the copy operations of this JSON patch add more than {MAX_COPIED} bytes"
                )));
            }
        }
        json_patch::patch(&mut patched, std::slice::from_ref(operation)).map_err(|error| {
            ApiError::unprocessable(format!(
                "the patch cannot be applied: operation {index} ({} {}): {}",
                name(operation),
                operation.path().as_str(),
                error.kind
            ))
        })?;
    }
    Ok(patched)
}

fn name(operation: &PatchOperation) -> &'static str {
    match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    }
}
