//! What cannot be written down: what an engine keeps otherwise than it was asked must not make containers anew again and again. That it is
//! the engine's doing shows when a second container differs as the first did, so each time nobody knows it costs one container more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clos_engine::engine::{Done, Info, Listed, Progress, Scope};
use clos_engine::events::EngineEvent;
use clos_engine::fake::{Call, FakeEngine, FakeImage};
use clos_engine::logs::{LogLine, LogOptions};
use clos_engine::{Engine, Error};
use clos_plan::action::EngineAction;
use clos_plan::container::LimitOptions;
use clos_plan::observed::{Network, Observed};
use clos_resources::Instance;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{World, engine, message, runs};

/// An engine on a kernel that keeps no limits.
struct Careless(FakeEngine);

impl Engine for Careless {
    fn info(&self) -> BoxFuture<'_, Result<Info, Error>> {
        self.0.info()
    }
    fn observe<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Observed, Error>> {
        let observed = async move {
            let mut observed = self.0.observe(scope).await?;
            for container in observed.containers.values_mut() {
                container.live.limits = LimitOptions::default();
            }
            Ok(observed)
        };
        observed.boxed()
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        self.0.list()
    }
    fn execute<'a>(
        &'a self,
        action: &'a EngineAction,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Done, Error>> {
        self.0.execute(action, progress)
    }
    fn events(&self) -> BoxStream<'static, EngineEvent> {
        self.0.events()
    }
    fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, Error>> {
        self.0.logs(container, options)
    }
    fn networks(&self) -> BoxFuture<'_, Result<Vec<Network>, Error>> {
        self.0.networks()
    }
    fn publishers(&self, port: u16) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        self.0.publishers(port)
    }
}

async fn careless() -> World {
    let fake = engine().pullable(FakeImage::new("far:1")).build();
    World::seeing(fake.clone(), Arc::new(Careless(fake))).await
}

fn limited() -> serde_json::Value {
    json!({ "resources": { "limits": { "memory": "64Mi" } } })
}

fn creates(world: &World) -> usize {
    let calls = world.engine.calls();
    let creates = calls
        .iter()
        .filter(|call| call.starts_with("create container"));
    creates.count()
}

/// From now on the API refuses the status of `web-0`; the count goes up each time.
fn refuse_status(world: &World, code: StatusCode) -> Arc<AtomicUsize> {
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    world.refuse(move |method, path| {
        let hit = *method == Method::PATCH && path.ends_with("/instances/web-0/status");
        counted.fetch_add(usize::from(hit), Ordering::SeqCst);
        hit.then_some(code)
    });
    refused
}

/// Waits until a status was refused so often; each pause before the next try passes at once.
async fn until_refused(world: &World, refused: &AtomicUsize, times: usize) {
    while refused.load(Ordering::SeqCst) < times {
        world.settle().await;
        world.advance(std::time::Duration::from_secs(61)).await;
    }
}

fn differs(instance: &Instance) -> bool {
    let status = instance.status.as_ref();
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == "EngineDiffers" && condition.status == "True")
}

#[tokio::test]
async fn what_the_engine_keeps_otherwise_is_written_down_after_the_second_container() {
    let world = careless().await;
    world.service("web", limited()).await;
    world.until_instance("web-0", differs).await;
    world.ready("web").await;
    world.settle().await;
    assert_eq!(creates(&world), 2, "{:#?}", world.engine.calls());
}

#[tokio::test]
async fn a_status_that_cannot_be_written_makes_no_more_containers_than_one_that_can() {
    for code in [StatusCode::CONFLICT, StatusCode::INSUFFICIENT_STORAGE] {
        let world = careless().await;
        let refused = refuse_status(&world, code);
        world.service("web", limited()).await;
        until_refused(&world, &refused, 6).await;
        world.accept();
        world.advance(std::time::Duration::from_secs(61)).await;
        world.until_instance("web-0", differs).await;
        world.ready("web").await;
        world.settle().await;
        assert_eq!(creates(&world), 2, "{code}: {:#?}", world.engine.calls());
    }
}

#[tokio::test]
async fn a_status_that_was_lost_with_the_process_costs_what_finding_it_out_cost_and_no_more() {
    let mut world = careless().await;
    let refused = refuse_status(&world, StatusCode::INTERNAL_SERVER_ERROR);
    world.service("web", limited()).await;
    until_refused(&world, &refused, 4).await;
    world.stop().await;
    assert_eq!(creates(&world), 2, "{:#?}", world.engine.calls());
    world.accept();
    world.start();
    world.until_instance("web-0", differs).await;
    world.ready("web").await;
    world.settle().await;
    assert_eq!(creates(&world), 4, "{:#?}", world.engine.calls());
}

#[tokio::test]
async fn what_is_known_of_a_container_stays_on_record_while_its_replacement_is_pulled() {
    let world = careless().await;
    world.service("web", limited()).await;
    world.until_instance("web-0", differs).await;
    world.ready("web").await;
    world.engine.hold(Call::Pull);
    world.change("web", json!({ "image": "far:1" })).await;
    world
        .until_instance("web-0", |web| {
            message(web) == "Progressing: pulling image far:1"
        })
        .await;
    let meanwhile = world.api::<Instance>().get("web-0").await.unwrap();
    assert!(differs(&meanwhile), "{meanwhile:#?}");
    world.engine.release(Call::Pull);
    world.ready("web").await;
    assert!(runs(&world.container("web-0")));
}
