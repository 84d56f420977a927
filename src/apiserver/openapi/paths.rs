//! The paths of a document and what can be done at each of them, derived from a resource's verbs.

use serde_json::{Map, Value, json};

use super::components::{kind_marker, list_name, name};
use super::reference::{meta_reference, reference, scale_reference};
use super::{OpenApiKind, place};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// Every path of a kind with its operations.
pub(super) fn of(kind: &OpenApiKind<'_>) -> Map<String, Value> {
    let resource = kind.resource;
    let root = format!("/{}", place(resource));
    let collection = if resource.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", resource.plural)
    } else {
        format!("{root}/{}", resource.plural)
    };
    let item = format!("{collection}/{{name}}");
    let mut paths = Map::new();
    if resource.namespaced && can(&resource.verbs, "list") {
        let everywhere = Operations {
            kind,
            path_parameters: Vec::new(),
            suffix: "ForAllNamespaces".to_owned(),
            content: reference(&name(resource)),
        };
        paths.insert(
            format!("{root}/{}", resource.plural),
            everywhere.of_all_namespaces(),
        );
    }
    let namespace = resource
        .namespaced
        .then(|| path_parameter("namespace", "The namespace of the object."));
    let operations = |suffix: &str, content: Value, named: bool| Operations {
        kind,
        path_parameters: namespace
            .clone()
            .into_iter()
            .chain(named.then(|| path_parameter("name", "The name of the object.")))
            .collect(),
        suffix: suffix.to_owned(),
        content,
    };
    insert_used(
        &mut paths,
        collection,
        operations("", reference(&name(resource)), false).of_collection(),
    );
    insert_used(
        &mut paths,
        item.clone(),
        operations("", reference(&name(resource)), true).of_item(&resource.verbs),
    );
    for part in &resource.subresources {
        let content = if part.name == "scale" {
            scale_reference()
        } else {
            reference(&name(resource))
        };
        let suffix = capitalized(&part.name);
        let part_operations = operations(&suffix, content, true).of_item(&part.verbs);
        insert_used(&mut paths, format!("{item}/{}", part.name), part_operations);
    }
    paths
}

/// What all operations at one path share.
struct Operations<'a> {
    kind: &'a OpenApiKind<'a>,
    path_parameters: Vec<Value>,
    suffix: String,
    content: Value,
}

impl Operations<'_> {
    fn of_all_namespaces(&self) -> Value {
        let mut path = Map::new();
        path.insert("get".to_owned(), self.list());
        Value::Object(path)
    }

    fn of_collection(&self) -> Map<String, Value> {
        let verbs = &self.kind.resource.verbs;
        let mut path = self.shared_parameters();
        if can(verbs, "list") {
            path.insert("get".to_owned(), self.list());
        }
        if can(verbs, "create") {
            let mut create = self.operation("create", "post", "201");
            create["parameters"] = write_parameters(false);
            create["requestBody"] = body(&self.content);
            path.insert("post".to_owned(), create);
        }
        if can(verbs, "deletecollection") {
            let mut delete = self.operation("deleteCollection", "deletecollection", "200");
            delete["responses"] = responses("200", &meta_reference("Status"));
            delete["requestBody"] = body(&meta_reference("DeleteOptions"));
            path.insert("delete".to_owned(), delete);
        }
        path
    }

    fn of_item(&self, verbs: &[String]) -> Map<String, Value> {
        let mut path = self.shared_parameters();
        if can(verbs, "get") {
            path.insert("get".to_owned(), self.operation("read", "get", "200"));
        }
        if can(verbs, "create") && !self.suffix.is_empty() {
            let mut create = self.operation("create", "post", "201");
            create["parameters"] = write_parameters(false);
            create["requestBody"] = body(&self.content);
            path.insert("post".to_owned(), create);
        }
        if can(verbs, "update") {
            let mut replace = self.operation("replace", "put", "200");
            replace["parameters"] = write_parameters(false);
            replace["requestBody"] = body(&self.content);
            path.insert("put".to_owned(), replace);
        }
        if can(verbs, "patch") {
            let mut change = self.operation("patch", "patch", "200");
            change["parameters"] = write_parameters(true);
            change["requestBody"] = self.patch_body();
            path.insert("patch".to_owned(), change);
        }
        if can(verbs, "delete") {
            let mut delete = self.operation("delete", "delete", "200");
            delete["responses"] = responses("200", &meta_reference("Status"));
            delete["requestBody"] = body(&meta_reference("DeleteOptions"));
            path.insert("delete".to_owned(), delete);
        }
        path
    }

    fn list(&self) -> Value {
        let mut list = self.operation("list", "list", "200");
        list["responses"] = responses("200", &reference(&list_name(self.kind.resource)));
        list["parameters"] = list_parameters();
        list
    }

    /// The media types of a PATCH are how clients choose between a strategic and a plain merge.
    fn patch_body(&self) -> Value {
        let mut types = vec![
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
        ];
        if self.kind.strategic {
            types.push("application/strategic-merge-patch+json");
        }
        let schema = json!({ "schema": meta_reference("Patch") });
        let content: Map<String, Value> = types
            .into_iter()
            .map(|kind| (kind.to_owned(), schema.clone()))
            .collect();
        json!({ "required": true, "content": content })
    }

    fn operation(&self, what: &str, action: &str, code: &str) -> Value {
        let resource = self.kind.resource;
        let group: String = resource.group.split('.').map(capitalized).collect();
        let group = if group.is_empty() {
            "Core".to_owned()
        } else {
            group
        };
        let scope = if resource.namespaced && self.suffix != "ForAllNamespaces" {
            "Namespaced"
        } else {
            ""
        };
        let version = capitalized(&resource.version);
        json!({
            "operationId": format!("{what}{group}{version}{scope}{}{}", resource.kind, self.suffix),
            "description": format!("{what} {}", resource.plural),
            "tags": [format!("{}_{}", if resource.group.is_empty() { "core" } else { &resource.group }, resource.version)],
            "responses": responses(code, &self.content),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind_marker(&resource.group, &resource.version, &resource.kind),
        })
    }

    fn shared_parameters(&self) -> Map<String, Value> {
        let mut path = Map::new();
        path.insert("parameters".to_owned(), json!(self.path_parameters));
        path
    }
}

/// Keeps a path out of the document when nothing can be done there.
fn insert_used(paths: &mut Map<String, Value>, path: String, operations: Map<String, Value>) {
    if operations.keys().any(|key| key != "parameters") {
        paths.insert(path, Value::Object(operations));
    }
}

fn can(verbs: &[String], verb: &str) -> bool {
    verbs.iter().any(|own| own == verb)
}

fn responses(code: &str, schema: &Value) -> Value {
    let content = json!({ JSON: { "schema": schema }, YAML: { "schema": schema } });
    json!({
        code: { "description": "OK", "content": content },
        "401": { "description": "Unauthorized" },
    })
}

fn body(schema: &Value) -> Value {
    json!({ "content": { JSON: { "schema": schema }, YAML: { "schema": schema } } })
}

fn write_parameters(force: bool) -> Value {
    let mut parameters = vec![
        query(
            "dryRun",
            "string",
            "All: nothing is stored, everything else happens.",
        ),
        query(
            "fieldManager",
            "string",
            "Who makes the change; the owner of the fields it sets.",
        ),
        query(
            "fieldValidation",
            "string",
            "What becomes of unknown and duplicate fields: Ignore drops them, Warn (the default) drops them and says so, \
             Strict refuses the request.",
        ),
    ];
    if force {
        parameters.push(query(
            "force",
            "boolean",
            "Take fields over from other managers; for apply patches only.",
        ));
    }
    json!(parameters)
}

fn list_parameters() -> Value {
    json!([
        query(
            "allowWatchBookmarks",
            "boolean",
            "Whether a watch may tell how far it has come."
        ),
        query("continue", "string", "The token of the page before."),
        query("fieldSelector", "string", "Which objects, by their fields."),
        query("labelSelector", "string", "Which objects, by their labels."),
        query("limit", "integer", "How many objects at most."),
        query(
            "resourceVersion",
            "string",
            "How recent the answer must be."
        ),
        query(
            "resourceVersionMatch",
            "string",
            "How resourceVersion is to be understood."
        ),
        query(
            "sendInitialEvents",
            "boolean",
            "Whether a watch begins with what exists."
        ),
        query(
            "timeoutSeconds",
            "integer",
            "When a watch ends, at the latest."
        ),
        query(
            "watch",
            "boolean",
            "Whether to follow changes instead of listing."
        ),
    ])
}

fn query(name: &str, kind: &str, description: &str) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind, "uniqueItems": true } })
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": { "type": "string", "uniqueItems": true },
    })
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
