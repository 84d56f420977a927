//! Many services at once: all of them run, and the engine is never asked more at a time than it is to be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clos_engine::engine::{Done, Info, Listed, Progress, Scope};
use clos_engine::events::EngineEvent;
use clos_engine::fake::FakeEngine;
use clos_engine::logs::{LogLine, LogOptions};
use clos_engine::{Engine, Error};
use clos_plan::action::EngineAction;
use clos_plan::observed::{Network, Observed};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::json;

use crate::world::{World, engine, runs};

/// Counts how many calls are under way.
struct Counting {
    engine: FakeEngine,
    now: AtomicUsize,
    most: Arc<AtomicUsize>,
}

impl Counting {
    fn counted<'a, T: 'a>(&'a self, call: BoxFuture<'a, T>) -> BoxFuture<'a, T> {
        Box::pin(async move {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            // Gives every other pass the chance to ask too.
            tokio::task::yield_now().await;
            let answer = call.await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    }
}

impl Engine for Counting {
    fn info(&self) -> BoxFuture<'_, Result<Info, Error>> {
        self.counted(self.engine.info())
    }
    fn observe<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Observed, Error>> {
        self.counted(self.engine.observe(scope))
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        self.counted(self.engine.list())
    }
    fn execute<'a>(
        &'a self,
        action: &'a EngineAction,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Done, Error>> {
        self.counted(self.engine.execute(action, progress))
    }
    fn events(&self) -> BoxStream<'static, EngineEvent> {
        self.engine.events()
    }
    fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, Error>> {
        self.engine.logs(container, options)
    }
    fn networks(&self) -> BoxFuture<'_, Result<Vec<Network>, Error>> {
        self.counted(self.engine.networks())
    }
    fn publishers(&self, port: u16) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        self.counted(self.engine.publishers(port))
    }
}

#[tokio::test]
async fn two_hundred_services_converge_with_eight_calls_at_a_time() {
    let fake = engine().build();
    let most = Arc::new(AtomicUsize::new(0));
    let counting = Counting {
        engine: fake.clone(),
        now: AtomicUsize::new(0),
        most: Arc::clone(&most),
    };
    let world = World::seeing(fake, Arc::new(counting)).await;
    for number in 0..200 {
        world.service(&format!("web-{number}"), json!({})).await;
    }
    world
        .until_containers("200 running", |all| {
            all.iter().filter(|container| runs(container)).count() == 200
        })
        .await;
    world
        .until_all(world.api::<clos_resources::Service>(), "200 ready", |all| {
            all.values()
                .filter(|service| crate::world::reason(service) == "Ready")
                .count()
                == 200
        })
        .await;
    let most = most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} calls at a time");
    assert_eq!(world.engine.containers().len(), 200);
}
