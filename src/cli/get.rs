//! `clos get`: objects as the server prints them. Kinds, short names and categories come from discovery, tables from the server.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use clos_resources::API_GROUP;
use http::Request;
use http::header::ACCEPT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::Ending;
use crate::args::{Connection, GetArgs, Output};
use crate::output::{self, Table};
use crate::query::query;

const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub(crate) async fn run(connection: &Connection, args: GetArgs) -> anyhow::Result<Ending> {
    let client = connection.client().await?;
    match found(&client, &args).await? {
        Found::Nothing => output::note(&nothing(&args))?,
        Found::Tables(text) => output::print(&text)?,
        Found::Document(document) => output::data(args.output, &document)?,
    }
    Ok(Ending::Done)
}

/// What is to be printed.
enum Found {
    /// No object; that is said to whoever reads along.
    Nothing,
    /// Tables or names.
    Tables(String),
    /// One object or a list.
    Document(Value),
}

async fn found(client: &Client, args: &GetArgs) -> anyhow::Result<Found> {
    let served = served(client).await?;
    let wanted = resolve(&served, &args.kind)?;
    let several = wanted.len() > 1;
    if let (Some(name), true) = (&args.name, several) {
        bail!(
            "{} stands for several kinds; give one with the name {name}, as in: clos get service {name}",
            args.kind
        );
    }
    let mut documents = Vec::new();
    let mut tables = Vec::new();
    for kind in wanted {
        let path = path(kind, args);
        match args.output {
            Some(Output::Json | Output::Yaml) => {
                documents.push(request(client, &path, "application/json").await?);
            }
            Some(Output::Wide | Output::Name) | None => {
                let table: ServerTable =
                    serde_json::from_value(request(client, &path, AS_TABLE).await?)
                        .context("the server sent no table")?;
                if !table.rows.is_empty() {
                    tables.push(render(
                        kind,
                        &table,
                        args.output,
                        args.all_namespaces && kind.resource.namespaced,
                        several,
                    ));
                }
            }
        }
    }
    Ok(match (documents.len(), tables.is_empty()) {
        (0, true) => Found::Nothing,
        (0, false) => Found::Tables(tables.join(if args.output == Some(Output::Name) {
            ""
        } else {
            "\n"
        })),
        (1, _) if !several => Found::Document(documents.remove(0)),
        (1.., _) => Found::Document(merge(documents)),
    })
}

/// A kind the server serves.
struct Served {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    prefix: String,
    /// The group's name; empty for the core group.
    group: String,
    resource: APIResource,
}

/// A table as the server sends it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerTable {
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    #[serde(default)]
    priority: i32,
}

#[derive(Deserialize)]
struct Row {
    cells: Vec<Value>,
    object: Value,
}

async fn served(client: &Client) -> anyhow::Result<Vec<Served>> {
    let mut served = Vec::new();
    let mut versions = vec![(String::new(), "v1".to_owned(), "/api/v1".to_owned())];
    for group in client.list_api_groups().await?.groups {
        let version = group
            .preferred_version
            .or_else(|| group.versions.first().cloned());
        if let Some(version) = version {
            versions.push((
                group.name,
                version.version,
                format!("/apis/{}", version.group_version),
            ));
        }
    }
    for (group, version, prefix) in versions {
        let list = match group.as_str() {
            "" => client.list_core_api_resources(&version).await?,
            _ => {
                client
                    .list_api_group_resources(&format!("{group}/{version}"))
                    .await?
            }
        };
        let resources = list.resources.into_iter().filter(|resource| {
            !resource.name.contains('/') && resource.verbs.iter().any(|verb| verb == "list")
        });
        served.extend(resources.map(|resource| Served {
            prefix: prefix.clone(),
            group: group.clone(),
            resource,
        }));
    }
    Ok(served)
}

/// The kinds a word names: by plural, singular, kind or short name; else by category. `services.clos.dev` names the group, too.
fn resolve<'a>(served: &'a [Served], word: &str) -> anyhow::Result<Vec<&'a Served>> {
    let lower = word.to_lowercase();
    let (name, group) = lower
        .split_once('.')
        .map_or((lower.as_str(), None), |(name, group)| (name, Some(group)));
    let is = |kind: &&Served| {
        let resource = &kind.resource;
        let names = [resource.name.as_str(), resource.singular_name.as_str()];
        let short = resource
            .short_names
            .iter()
            .flatten()
            .any(|short| short == name);
        (names.contains(&name) || resource.kind.to_lowercase() == name || short)
            && group.is_none_or(|group| group == kind.group)
    };
    // A cluster has services and groups of its own; here ours are meant unless another group is named.
    let ours = served.iter().filter(|kind| kind.group == API_GROUP);
    if let Some(kind) = ours.chain(served).find(is) {
        return Ok(vec![kind]);
    }
    let of_category: Vec<&Served> = served
        .iter()
        .filter(|kind| {
            kind.resource
                .categories
                .iter()
                .flatten()
                .any(|category| *category == lower)
        })
        .collect();
    if of_category.is_empty() {
        let names: Vec<&str> = served
            .iter()
            .map(|kind| kind.resource.name.as_str())
            .collect();
        bail!(
            "the server knows no kind {word:?}; there are {}, and the category clos",
            names.join(", ")
        );
    }
    Ok(of_category)
}

fn path(kind: &Served, args: &GetArgs) -> String {
    let Served {
        prefix, resource, ..
    } = kind;
    let scope = if resource.namespaced && !args.all_namespaces {
        format!("/namespaces/{}", args.namespace)
    } else {
        String::new()
    };
    let name = args
        .name
        .as_ref()
        .map(|name| format!("/{name}"))
        .unwrap_or_default();
    let selector = query(
        args.selector
            .as_deref()
            .map(|selector| ("labelSelector", selector)),
    );
    format!("{prefix}{scope}/{}{name}{selector}", resource.name)
}

async fn request(client: &Client, path: &str, accept: &str) -> anyhow::Result<Value> {
    let request = Request::get(path).header(ACCEPT, accept).body(Vec::new())?;
    Ok(client.request(request).await?)
}

fn render(
    kind: &Served,
    table: &ServerTable,
    format: Option<Output>,
    with_namespace: bool,
    several: bool,
) -> String {
    let resource = &kind.resource;
    let qualifier = match (several, kind.group.as_str()) {
        (false, _) => String::new(),
        (true, "") => format!("{}/", resource.singular_name),
        (true, group) => format!("{}.{group}/", resource.singular_name),
    };
    let name_of = |row: &Row| {
        row.object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    if format == Some(Output::Name) {
        let prefix = if kind.group.is_empty() {
            resource.singular_name.clone()
        } else {
            format!("{}.{}", resource.singular_name, kind.group)
        };
        let mut names = String::new();
        for row in &table.rows {
            let _ = writeln!(names, "{prefix}/{}", name_of(row));
        }
        return names;
    }
    let shown: Vec<usize> = table
        .column_definitions
        .iter()
        .enumerate()
        .filter(|(_, column)| column.priority == 0 || format == Some(Output::Wide))
        .map(|(index, _)| index)
        .collect();
    let namespace_head = with_namespace.then(|| "NAMESPACE".to_owned());
    let mut text = Table::new(
        namespace_head.into_iter().chain(
            shown
                .iter()
                .map(|index| table.column_definitions[*index].name.to_uppercase()),
        ),
    );
    for row in &table.rows {
        let namespace = with_namespace.then(|| {
            row.object["metadata"]["namespace"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        });
        let cells = shown.iter().map(|index| {
            let cell = match row.cells.get(*index) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            if *index == 0 {
                format!("{qualifier}{cell}")
            } else {
                cell
            }
        });
        text.row(namespace.into_iter().chain(cells));
    }
    text.render()
}

fn merge(lists: Vec<Value>) -> Value {
    let items: Vec<Value> = lists
        .into_iter()
        .filter_map(|mut list| list["items"].as_array_mut().map(std::mem::take))
        .flatten()
        .collect();
    serde_json::json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
}

fn nothing(args: &GetArgs) -> String {
    if args.all_namespaces {
        "No resources found".to_owned()
    } else {
        format!("No resources found in namespace {}", args.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(
        group: &str,
        name: &str,
        singular: &str,
        short: &str,
        category: Option<&str>,
    ) -> Served {
        let prefix = if group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{group}/v1alpha1")
        };
        let resource = APIResource {
            name: name.to_owned(),
            singular_name: singular.to_owned(),
            kind: singular.to_owned(),
            namespaced: true,
            short_names: Some(vec![short.to_owned()]),
            categories: category.map(|category| vec![category.to_owned()]),
            ..APIResource::default()
        };
        Served {
            prefix,
            group: group.to_owned(),
            resource,
        }
    }

    fn kinds() -> Vec<Served> {
        vec![
            kind("", "secrets", "secret", "", None),
            kind("clos.dev", "services", "service", "csvc", Some("clos")),
            kind("clos.dev", "groups", "group", "cgrp", Some("clos")),
        ]
    }

    fn args(kind: &str) -> GetArgs {
        GetArgs {
            kind: kind.to_owned(),
            name: None,
            namespace: "default".to_owned(),
            all_namespaces: false,
            selector: None,
            output: None,
        }
    }

    #[test]
    fn a_word_names_a_kind_by_any_of_its_names_or_several_by_category() {
        let served = kinds();
        let names = |word: &str| {
            resolve(&served, word)
                .unwrap()
                .iter()
                .map(|kind| kind.resource.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("csvc"), ["services"]);
        assert_eq!(names("Service"), ["services"]);
        assert_eq!(names("services.clos.dev"), ["services"]);
        assert_eq!(names("clos"), ["services", "groups"]);
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_kinds() {
        let served = kinds();
        let error = resolve(&served, "pods").err().unwrap().to_string();
        assert_eq!(
            error,
            r#"the server knows no kind "pods"; there are secrets, services, groups, and the category clos"#
        );
    }

    #[test]
    fn the_path_says_namespace_name_and_selector() {
        let served = kinds();
        let mut one = args("csvc");
        one.name = Some("web".to_owned());
        assert_eq!(
            path(&served[1], &one),
            "/apis/clos.dev/v1alpha1/namespaces/default/services/web"
        );
        let mut all = args("csvc");
        all.all_namespaces = true;
        all.selector = Some("a=b".to_owned());
        assert_eq!(
            path(&served[1], &all),
            "/apis/clos.dev/v1alpha1/services?labelSelector=a%3Db"
        );
    }

    #[test]
    fn several_kinds_are_told_apart_and_wide_shows_more() {
        let served = kinds();
        let table: ServerTable = serde_json::from_value(serde_json::json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Ready"}, {"name": "Message", "priority": 1}],
            "rows": [{"cells": ["web", "1/1", null], "object": {"metadata": {"name": "web", "namespace": "default"}}}],
        }))
        .unwrap();
        insta::assert_snapshot!(render(&served[1], &table, None, true, true), @r"
        NAMESPACE   NAME                   READY
        default     service.clos.dev/web   1/1
        ");
        insta::assert_snapshot!(render(&served[1], &table, Some(Output::Wide), false, false), @r"
        NAME   READY   MESSAGE
        web    1/1
        ");
        assert_eq!(
            render(&served[1], &table, Some(Output::Name), false, false),
            "service.clos.dev/web\n"
        );
    }

    async fn printed(client: &Client, args: &GetArgs) -> String {
        match found(client, args).await.unwrap() {
            Found::Nothing => nothing(args),
            Found::Tables(text) => text,
            Found::Document(document) => document["kind"].to_string(),
        }
    }

    #[tokio::test]
    async fn a_category_is_asked_for_kind_by_kind_and_printed_together() {
        let client = crate::tests::server().await;
        let mut manifests = clos_sources::Manifests::default();
        let text = "apiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: { name: shop }\nspec: {}\n---\n\
            apiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: { name: web }\nspec: { group: shop, image: x }\n";
        manifests.read(std::path::Path::new("shop.yaml"), text.as_bytes());
        assert_eq!(
            printed(&client, &args("clos")).await,
            "No resources found in namespace default"
        );
        crate::apply::apply(&client, manifests, &mut |_| Ok(()))
            .await
            .unwrap();
        let names = GetArgs {
            output: Some(Output::Name),
            ..args("clos")
        };
        let mut lines: Vec<String> = printed(&client, &names)
            .await
            .lines()
            .map(str::to_owned)
            .collect();
        lines.sort();
        assert_eq!(lines, ["group.clos.dev/shop", "service.clos.dev/web"]);
        let one = GetArgs {
            name: Some("web".to_owned()),
            output: Some(Output::Yaml),
            ..args("csvc")
        };
        assert_eq!(printed(&client, &one).await, "\"Service\"");
        let list = GetArgs {
            output: Some(Output::Json),
            ..args("clos")
        };
        assert_eq!(printed(&client, &list).await, "\"List\"");
    }

    #[tokio::test]
    async fn an_object_that_is_not_there_and_a_name_of_several_kinds_are_answered_with_a_sentence()
    {
        let client = crate::tests::server().await;
        let error = |args: GetArgs| {
            let client = client.clone();
            async move {
                found(&client, &args)
                    .await
                    .err()
                    .map(|error| clos_telemetry::Chain(error.as_ref()).to_string())
            }
        };
        let missing = error(GetArgs {
            name: Some("web".to_owned()),
            ..args("csvc")
        })
        .await;
        assert_eq!(
            missing.as_deref(),
            Some("services.clos.dev \"web\" not found")
        );
        let several = error(GetArgs {
            name: Some("web".to_owned()),
            ..args("clos")
        })
        .await;
        assert_eq!(
            several.as_deref(),
            Some(
                "clos stands for several kinds; give one with the name web, as in: clos get service web"
            )
        );
    }
}
