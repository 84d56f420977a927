//! Objects as tables (`Table` of `meta.k8s.io`) and as bare metadata: what `kubectl get` prints. Which form a client
//! asks for is found out elsewhere.

mod age;
mod core;
mod jsonpath;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::status::{ApiError, quoted};
pub(crate) use core::CoreColumns;
use jsonpath::JsonPath;
pub(crate) use jsonpath::JsonPathError;

/// How the rows of one kind are made. Built once, when the kind is registered.
#[derive(Debug)]
pub(crate) struct Columns {
    /// `columnDefinitions` as clients get them.
    definitions: Vec<Value>,
    cells: Cells,
}

#[derive(Debug)]
enum Cells {
    Paths(Vec<(JsonPath, CellType)>),
    Core(CoreColumns),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellType {
    Text,
    Integer,
    Number,
    Boolean,
    Date,
}

/// How much of each object a row carries besides its cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

/// Why a CRD's columns cannot be shown. A mistake of whoever wrote the CRD.
#[derive(Debug, Error)]
pub(crate) enum ColumnError {
    /// A column has a type that does not exist.
    #[error("column {column:?} has the unknown type {kind:?}")]
    Type {
        /// The column's name.
        column: String,
        /// Its type.
        kind: String,
    },
    /// A column's path cannot be understood.
    #[error("column {column:?} has an unusable jsonPath")]
    Path {
        /// The column's name.
        column: String,
        /// What is wrong with the path.
        #[source]
        source: JsonPathError,
    },
}

impl Columns {
    /// The columns of a CRD version: the name, then its `additionalPrinterColumns`; the age when it has none.
    pub(crate) fn compile(columns: &[CustomResourceColumnDefinition]) -> Result<Self, ColumnError> {
        let age = [CustomResourceColumnDefinition {
            name: "Age".to_owned(),
            type_: "date".to_owned(),
            description: Some("The time since the object was made.".to_owned()),
            json_path: ".metadata.creationTimestamp".to_owned(),
            ..Default::default()
        }];
        let columns = if columns.is_empty() { &age } else { columns };
        let mut definitions = vec![name_definition(0)];
        let mut paths = Vec::with_capacity(columns.len());
        for column in columns {
            let kind = CellType::parse(&column.type_).ok_or_else(|| ColumnError::Type {
                column: column.name.clone(),
                kind: column.type_.clone(),
            })?;
            let path = JsonPath::parse(&column.json_path).map_err(|source| ColumnError::Path {
                column: column.name.clone(),
                source,
            })?;
            let description = column.description.clone().unwrap_or_else(|| {
                format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    column.json_path
                )
            });
            let format = column.format.as_deref().unwrap_or_default();
            let priority = column.priority.unwrap_or_default();
            definitions.push(definition(
                &column.name,
                &column.type_,
                format,
                &description,
                priority,
            ));
            paths.push((path, kind));
        }
        Ok(Self {
            definitions,
            cells: Cells::Paths(paths),
        })
    }

    /// The columns of one of Kubernetes' own kinds.
    pub(crate) fn of_core(kind: CoreColumns) -> Self {
        Self {
            definitions: kind.definitions(),
            cells: Cells::Core(kind),
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.cells {
            Cells::Paths(paths) => {
                let name = object
                    .pointer("/metadata/name")
                    .cloned()
                    .unwrap_or_default();
                let others = paths.iter().map(|(path, kind)| match path.first(object) {
                    Some(value) => kind.cell(value, now),
                    None => Value::Null,
                });
                std::iter::once(name).chain(others).collect()
            }
            Cells::Core(kind) => kind.cells(object, now),
        }
    }
}

impl CellType {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "string" => Some(Self::Text),
            "integer" => Some(Self::Integer),
            "number" => Some(Self::Number),
            "boolean" => Some(Self::Boolean),
            "date" => Some(Self::Date),
            _ => None,
        }
    }

    /// A value as a cell; null when it is not of the column's type.
    fn cell(self, value: &Value, now: Timestamp) -> Value {
        match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Text, Value::String(text)) => json!(text),
            (Self::Text, other) => json!(other.to_string()),
            (Self::Integer, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => json!(whole),
                (None, Some(float)) => format!("{:.0}", float.trunc())
                    .parse::<i64>()
                    .map_or(Value::Null, |whole| json!(whole)),
                (None, None) => Value::Null,
            },
            (Self::Number, Value::Number(_)) | (Self::Boolean, Value::Bool(_)) => value.clone(),
            (Self::Date, Value::String(time)) => json!(age::since(time, now)),
            (Self::Integer | Self::Number | Self::Boolean | Self::Date, _) => Value::Null,
        }
    }
}

impl IncludeObject {
    /// Reads the `includeObject` parameter of a query; another word than the three is a 400.
    pub(crate) fn parse(parameter: Option<&str>) -> Result<Self, ApiError> {
        match parameter {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value: {}",
                quoted(other)
            ))),
        }
    }

    fn object(self, object: &Value) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Metadata => partial(object),
            Self::Object => object.clone(),
        }
    }
}

/// The objects as a `Table`. `list_metadata` is that of the list, or of a single object its resource version alone;
/// `definitions` is false in a watch after its first event. Ages are counted up to `now`.
pub(crate) fn table<'o>(
    columns: &Columns,
    objects: impl IntoIterator<Item = &'o Value>,
    list_metadata: Map<String, Value>,
    definitions: bool,
    include: IncludeObject,
    now: Timestamp,
) -> Value {
    let rows = objects.into_iter().map(|object| {
        let cells = Value::Array(columns.cells(object, now));
        fields([("cells", cells), ("object", include.object(object))])
    });
    let rows = rows.collect();
    let definitions = if definitions {
        Value::Array(columns.definitions.clone())
    } else {
        Value::Null
    };
    fields([
        ("kind", json!("Table")),
        ("apiVersion", json!("meta.k8s.io/v1")),
        ("metadata", Value::Object(list_metadata)),
        ("columnDefinitions", definitions),
        ("rows", rows),
    ])
}

/// The object without anything but its metadata.
pub(crate) fn partial(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned();
    fields([
        ("kind", json!("PartialObjectMetadata")),
        ("apiVersion", json!("meta.k8s.io/v1")),
        (
            "metadata",
            metadata.unwrap_or_else(|| Value::Object(Map::new())),
        ),
    ])
}

/// The objects as a list of their metadata.
pub(crate) fn partial_list<'o>(
    objects: impl IntoIterator<Item = &'o Value>,
    list_metadata: Map<String, Value>,
) -> Value {
    fields([
        ("kind", json!("PartialObjectMetadataList")),
        ("apiVersion", json!("meta.k8s.io/v1")),
        ("metadata", Value::Object(list_metadata)),
        ("items", objects.into_iter().map(partial).collect()),
    ])
}

/// An object of the given fields, which are moved: `json!` would copy them, and lists are long.
fn fields<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    Value::Object(fields.collect())
}

fn name_definition(priority: i32) -> Value {
    definition(
        "Name",
        "string",
        "name",
        "The object's name, unique within its namespace.",
        priority,
    )
}

fn definition(name: &str, kind: &str, format: &str, description: &str, priority: i32) -> Value {
    json!({ "name": name, "type": kind, "format": format, "description": description, "priority": priority })
}
