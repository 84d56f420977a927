//! `clos plan`: what applying would do, down to each call, without making one of them. [`read`] asks the server for dry runs and looks at
//! the engine; [`forecast`] works out, purely, what would follow; `clos-plan` decides and prints.

mod forecast;
mod read;
#[cfg(test)]
mod tests;
mod world;

use std::fmt::Write as _;
use std::io;

use anyhow::Context;
use clos_engine::Engine;
use clos_plan::report::{Part, Report};
use clos_sources::{Manifests, SyncOptions, SyncPlan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use crate::Ending;
use crate::args::{Connection, PlanArgs};
use crate::connect::now;
use crate::declared::{self, Looked};
use crate::output;
use forecast::{Forecast, Surroundings};

pub(crate) async fn run(connection: &Connection, args: PlanArgs) -> anyhow::Result<Ending> {
    let manifests = declared::read(&args.filename, &mut io::stdin().lock())?;
    let client = connection.client().await?;
    let engine = connection.engine()?;
    match plan(&client, &engine, manifests, now()).await? {
        Planned::Mistakes(text) => {
            output::note(&text)?;
            Ok(Ending::NotAsAsked)
        }
        Planned::AsDeclared(text) => {
            output::print(&text)?;
            Ok(Ending::Done)
        }
        Planned::Differences(text) => {
            output::print(&text)?;
            Ok(Ending::Differences)
        }
    }
}

/// What applying would do.
#[derive(Debug)]
pub(crate) enum Planned {
    /// Nothing could be planned; the user's mistakes.
    Mistakes(String),
    /// Nothing at all.
    AsDeclared(String),
    /// This.
    Differences(String),
}

/// Works out what applying would do. Reads and dry runs only.
pub(crate) async fn plan(
    client: &Client,
    engine: &dyn Engine,
    manifests: Manifests,
    now: Timestamp,
) -> anyhow::Result<Planned> {
    let desired = declared::set(client, manifests).await?;
    // The folder of a source is looked at as that source: to a person its objects are not free to change.
    let options = SyncOptions {
        source: declared::owner(client, &desired).await?,
        ..SyncOptions::default()
    };
    let prepared = match declared::look(client, &desired, &options).await? {
        Looked::Sound(prepared) => prepared,
        Looked::Mistakes(mistakes) => return Ok(Planned::Mistakes(mistakes.to_string())),
    };
    let platform = engine
        .info()
        .await
        .context("a plan needs to look at the engine")?
        .engine;
    let system = Api::<Namespace>::all(client.clone())
        .get("kube-system")
        .await
        .context("cannot read the installation's id")?;
    let installation = system.uid().unwrap_or_default();
    let (mut world, places) = read::world(client, &desired, prepared.plan()).await?;
    // The Services are taken out for a moment, so that values can be added to the world they are forecast from.
    let concerned: Vec<clos_resources::Service> =
        world.concerned(&places).into_iter().cloned().collect();
    let forecasts: Vec<Forecast<'_>> = concerned
        .iter()
        .map(|service| forecast::instances(&world, service, now))
        .collect();
    read::values(
        client,
        &mut world,
        forecasts.iter().flat_map(|forecast| &forecast.instances),
    )
    .await?;
    let views = read::views(engine, &forecasts)
        .await
        .context("a plan needs to look at the engine")?;
    let surroundings = Surroundings {
        views: &views,
        platform: &platform,
        installation: &installation,
        now,
    };
    let parts = forecast::parts(&world, &forecasts, &surroundings);
    Ok(planned(prepared.plan(), options.source.as_deref(), &parts))
}

fn planned(plan: &SyncPlan, source: Option<&str>, parts: &[Part]) -> Planned {
    let report = Report::new(parts);
    let nothing_waits = parts.iter().all(|part| part.waits_for.is_none());
    if plan.actions.is_empty() && report.is_empty() && nothing_waits {
        return Planned::AsDeclared(report.to_string());
    }
    let mut text = objects(plan, source);
    if report.is_empty() && nothing_waits {
        let count = plan.actions.len();
        let noun = if count == 1 { "object" } else { "objects" };
        let _ = writeln!(
            text,
            "Plan: {count} {noun} to write; no container is touched. Nothing was changed."
        );
    } else {
        let _ = write!(text, "{report}");
    }
    Planned::Differences(text)
}

/// The objects that would be written, and why.
fn objects(plan: &SyncPlan, source: Option<&str>) -> String {
    let mut text = String::new();
    if !plan.actions.is_empty() {
        let whose = source
            .map(|source| format!(", as the source {source} applies them"))
            .unwrap_or_default();
        let _ = writeln!(text, "Objects{whose}");
        for action in &plan.actions {
            let _ = writeln!(text, "  {action}");
        }
    }
    text
}
