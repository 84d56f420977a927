//! How one schema of a document refers to another.

use serde_json::{Value, json};

/// What the names of Kubernetes' own types that operations refer to begin with.
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
/// The type of the `scale` subresource.
pub(super) const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";
/// The type of a value that is a number or a text.
pub(super) const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

/// A reference to a component.
pub(super) fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}

/// A reference to one of Kubernetes' own types.
pub(super) fn meta_reference(kind: &str) -> Value {
    reference(&format!("{META}.{kind}"))
}

/// A reference to the type of the `scale` subresource.
pub(super) fn scale_reference() -> Value {
    reference(SCALE)
}
