//! Patches as pure functions: the object as it is, the request's body and its kind give the object as it shall be.
//! Server-side apply is no patch in this sense and stands elsewhere.

mod json;
mod strategic;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::status::ApiError;

/// How a patch says what shall change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    /// RFC 6902: a list of operations.
    Json,
    /// RFC 7396: an object that is laid over the other; null removes.
    Merge,
    /// As `Merge`, with directives and with lists that merge by key. Kubernetes' own types only.
    Strategic,
}

impl PatchType {
    /// The kind of patch a `Content-Type` announces, parameters aside.
    pub(crate) fn of_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Merge, Self::Strategic]
            .into_iter()
            .find(|kind| kind.media_type().eq_ignore_ascii_case(essence))
    }

    /// The media type of such patches.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// The object after the patch. A body that is no such patch is a 400; a patch that cannot be carried out on this object
/// (a failed `test`, a path that leads nowhere) is a 422; too many operations are a 413.
pub(crate) fn apply(current: &Value, body: &[u8], kind: PatchType) -> Result<Value, ApiError> {
    match kind {
        PatchType::Json => json::apply(current, body),
        PatchType::Merge => {
            let patch = read_object(body)?;
            let mut patched = current.clone();
            json_patch::merge(&mut patched, &patch);
            Ok(patched)
        }
        PatchType::Strategic => {
            let patch = read_object(body)?;
            strategic::apply(current, patch)
        }
    }
}

fn read_object(body: &[u8]) -> Result<Value, ApiError> {
    let patch: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the patch is not JSON: {error}")))?;
    if patch.is_object() {
        Ok(patch)
    } else {
        Err(ApiError::bad_request("the patch must be a JSON object"))
    }
}
