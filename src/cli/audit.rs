//! `clos audit`: what was done, by whom and why, as the server's journal has it.

use anyhow::Context;
use clos_audit::Entry;
use futures::{AsyncBufReadExt, TryStreamExt};
use http::Request;

use crate::Ending;
use crate::args::{AuditArgs, Connection, Output};
use crate::connect::now;
use crate::output::{self, Table};
use crate::query::query;

pub(crate) async fn run(connection: &Connection, args: AuditArgs) -> anyhow::Result<Ending> {
    let client = connection.client().await?;
    let since = args.since.map(|since| (now() - since.get()).to_string());
    let wanted = [
        ("object", args.object.clone()),
        ("verb", args.verb.clone()),
        ("actor", args.actor.clone()),
        ("since", since),
        ("limit", Some(args.limit.to_string())),
        ("follow", args.follow.then(|| "true".to_owned())),
    ];
    let query = query(
        wanted
            .iter()
            .filter_map(|(name, value)| Some((*name, value.as_deref()?))),
    );
    let request = Request::get(format!("/audit{query}")).body(Vec::new())?;
    let mut lines = client
        .request_stream(request)
        .await
        .context("cannot read the audit journal")?
        .lines();
    let mut table = Table::new(head(args.output));
    while let Some(line) = lines
        .try_next()
        .await
        .context("the audit journal's stream broke off")?
    {
        if args.output == Some(Output::Json) {
            output::line(&line)?;
            continue;
        }
        let entry: Entry = serde_json::from_str(&line)
            .context("the server sent an audit entry that cannot be read")?;
        match args.output {
            Some(Output::Yaml) => {
                output::print(&format!("---\n{}", serde_saphyr::to_string(&entry)?))?;
            }
            Some(Output::Name) => output::line(&entry.event.object.to_string())?,
            // What is to come has no end to measure columns by.
            Some(Output::Wide | Output::Json) | None if args.follow => {
                output::line(&cells(&entry, args.output).join("  "))?;
            }
            Some(Output::Wide | Output::Json) | None => table.row(cells(&entry, args.output)),
        }
    }
    if !args.follow && matches!(args.output, None | Some(Output::Wide)) {
        output::print(&table.render())?;
    }
    Ok(Ending::Done)
}

/// The head of the table; a wide one has the entry's number and how long it took, too.
fn head(format: Option<Output>) -> Vec<&'static str> {
    let wide = format == Some(Output::Wide);
    wide.then_some("SEQ")
        .into_iter()
        .chain(["TIME", "ACTOR", "VERB", "OBJECT", "RESULT"])
        .chain(wide.then_some("MS"))
        .chain(["WHAT"])
        .collect()
}

/// One row: the actions where there are any, and the cause.
fn cells(entry: &Entry, format: Option<Output>) -> Vec<String> {
    let event = &entry.event;
    let actions = event.actions.join(", ");
    let what = match &event.cause {
        Some(cause) if actions.is_empty() => cause.clone(),
        Some(cause) => format!("{actions} ({cause})"),
        None => actions,
    };
    let result = serde_json::to_value(event.result)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default();
    let time = entry.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut cells = vec![
        time,
        event.actor.clone(),
        event.verb.clone(),
        event.object.to_string(),
        result,
    ];
    if format == Some(Output::Wide) {
        cells.insert(0, entry.seq.to_string());
        cells.push(
            event
                .duration_ms
                .map(|milliseconds| milliseconds.to_string())
                .unwrap_or_default(),
        );
    }
    cells.push(what);
    cells
}

#[cfg(test)]
mod tests {
    use clos_audit::{Event, ObjectRef, Outcome};
    use clos_auth::Identity;

    use super::*;

    fn entry(cause: Option<&str>, actions: &[&str]) -> Entry {
        let object = ObjectRef::new("clos.dev", "v1alpha1", "Instance")
            .in_namespace("default")
            .named("web-0");
        let event = Event::new(
            &Identity::component("controller:instance"),
            "reconcile",
            object,
            Outcome::Repaired,
        );
        let event = Event {
            cause: cause.map(str::to_owned),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            ..event
        };
        Entry {
            seq: 1,
            time: "2026-11-23T09:31:02.512Z".parse().unwrap(),
            event,
            noops: 0,
        }
    }

    #[test]
    fn a_row_says_what_was_done_and_why() {
        let mut table = Table::new(head(None));
        table.row(cells(
            &entry(
                Some("container died: exit 137, not asked for by clos"),
                &["start container clos_default_web-0"],
            ),
            None,
        ));
        table.row(cells(&entry(Some("the registry refuses"), &[]), None));
        table.row(cells(
            &entry(None, &["start container clos_default_web-0"]),
            None,
        ));
        insta::assert_snapshot!(table.render());
    }

    #[test]
    fn a_wide_row_has_a_cell_for_every_column() {
        let wide = Some(Output::Wide);
        assert_eq!(
            head(wide),
            [
                "SEQ", "TIME", "ACTOR", "VERB", "OBJECT", "RESULT", "MS", "WHAT"
            ]
        );
        assert_eq!(
            cells(&entry(Some("the registry refuses"), &[]), wide).len(),
            head(wide).len()
        );
        assert_eq!(cells(&entry(None, &[]), None).len(), head(None).len());
    }
}
