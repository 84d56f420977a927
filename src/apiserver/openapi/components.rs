//! The schemas of a document: the kinds, their lists, and what all of them refer to.

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    DeleteOptions, ListMeta, ObjectMeta, Patch, Status,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::OpenApiKind;
use super::publish::publish;
use super::reference::{SCALE, meta_reference, reference};
use crate::discovery::ResourceDescription;

/// The types whose name and version stand for one kind wherever they appear.
const SELF_DESCRIBING: [(&str, &str, &str, &str); 3] = [
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
        "",
        "v1",
        "Status",
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
        "",
        "v1",
        "DeleteOptions",
    ),
    (SCALE, "autoscaling", "v1", "Scale"),
];

/// The schemas that the paths and kinds of one group and version refer to.
pub(super) fn of(kinds: &[OpenApiKind<'_>]) -> Map<String, Value> {
    let mut schemas = shared(kinds);
    for kind in kinds {
        let resource = kind.resource;
        schemas.insert(name(resource), object(kind));
        if resource.verbs.iter().any(|verb| verb == "list") {
            schemas.insert(list_name(resource), list(resource));
        }
    }
    schemas
}

/// The component of a resource's objects: the group reversed, the version, the kind.
pub(super) fn name(resource: &ResourceDescription) -> String {
    let group = match resource.group.strip_suffix(".k8s.io") {
        _ if resource.group.is_empty() => "io.k8s.api.core".to_owned(),
        Some(group) => format!("io.k8s.api.{group}"),
        None => resource.group.rsplit('.').collect::<Vec<_>>().join("."),
    };
    format!("{group}.{}.{}", resource.version, resource.kind)
}

/// The component of its lists.
pub(super) fn list_name(resource: &ResourceDescription) -> String {
    format!("{}List", name(resource))
}

/// The group, version and kind that tell clients which component or operation is about what.
pub(super) fn kind_marker(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}

fn object(kind: &OpenApiKind<'_>) -> Value {
    let resource = kind.resource;
    let mut schema = kind.schema.clone();
    if !schema.is_object() {
        schema = json!({ "type": "object" });
    }
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    publish(&mut schema);
    let properties = &mut schema["properties"];
    describe_type(properties);
    properties["metadata"] = json!({
        "description": "The object's name, its labels and what the server knows about it.",
        "default": {},
        "allOf": [meta_reference("ObjectMeta")],
    });
    let marker = kind_marker(&resource.group, &resource.version, &resource.kind);
    schema["x-kubernetes-group-version-kind"] = json!([marker]);
    schema
}

fn list(resource: &ResourceDescription) -> Value {
    let mut properties = json!({
        "metadata": {
            "description": "The list's version and where it goes on.",
            "default": {},
            "allOf": [meta_reference("ListMeta")],
        },
        "items": {
            "description": format!("The {} of the list.", resource.plural),
            "type": "array",
            "items": { "default": {}, "allOf": [reference(&name(resource))] },
        },
    });
    describe_type(&mut properties);
    let marker = kind_marker(
        &resource.group,
        &resource.version,
        &format!("{}List", resource.kind),
    );
    json!({
        "description": format!("A list of {}.", resource.plural),
        "type": "object",
        "required": ["items"],
        "properties": properties,
        "x-kubernetes-group-version-kind": [marker],
    })
}

fn describe_type(properties: &mut Value) {
    properties["apiVersion"] = json!({
        "description": "The group and version that the object is written for.",
        "type": "string",
    });
    properties["kind"] = json!({ "description": "What the object is.", "type": "string" });
}

/// Kubernetes' own types, with everything they refer to in turn.
fn shared(kinds: &[OpenApiKind<'_>]) -> Map<String, Value> {
    let mut generator = SchemaSettings::openapi3().into_generator();
    generator.subschema_for::<ObjectMeta>();
    generator.subschema_for::<ListMeta>();
    generator.subschema_for::<Status>();
    generator.subschema_for::<DeleteOptions>();
    generator.subschema_for::<Patch>();
    generator.subschema_for::<IntOrString>();
    let scales = |kind: &OpenApiKind<'_>| {
        kind.resource
            .subresources
            .iter()
            .any(|part| part.name == "scale")
    };
    if kinds.iter().any(scales) {
        generator.subschema_for::<Scale>();
    }
    let mut schemas = generator.take_definitions(true);
    for (component, group, version, kind) in SELF_DESCRIBING {
        if let Some(Value::Object(schema)) = schemas.get_mut(component) {
            let marker = json!([kind_marker(group, version, kind)]);
            schema.insert("x-kubernetes-group-version-kind".to_owned(), marker);
        }
    }
    schemas
}
