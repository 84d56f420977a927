//! The same with Docker Swarm, for comparison. It makes a swarm of one on an engine that is in none, and leaves it again.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bollard::models::{
    LocalNodeState, NetworkAttachmentConfig, ServiceSpec, ServiceSpecMode,
    ServiceSpecModeReplicated, SwarmInitRequest, SwarmSpec, TaskSpec, TaskSpecContainerSpec,
};
use bollard::query_parameters::LeaveSwarmOptions;
use futures::{StreamExt as _, TryStreamExt as _};

use crate::engine::{COMMAND, Engine, IMAGE, LABEL_RUN, LABEL_SIDE, PATIENCE, Side};
use crate::repair::Fault;
use crate::report::Times;
use crate::{now, repair, say};

/// How often each fault is inflicted.
const FAULTS: u16 = 5;

/// How many calls at a time.
const WIDE: usize = 8;

/// The network that a swarm makes on the host and leaves behind.
const GATEWAY: &str = "docker_gwbridge";

/// Label of the swarm: whether that network was there before.
const LABEL_GATEWAY: &str = "clos-bench.gateway";

/// What Swarm did.
pub(crate) struct Swarm {
    /// From declared to running.
    pub(crate) converged: Duration,
    /// From each fault to running again, if that was to be measured.
    pub(crate) repaired: Vec<(Fault, Times)>,
}

/// Measures this many services of one replica each on the engine's own bridge.
pub(crate) async fn measure(
    engine: &Engine,
    count: u16,
    with_faults: bool,
) -> anyhow::Result<Swarm> {
    let info = engine
        .docker()
        .info()
        .await
        .context("cannot ask the engine about itself")?;
    let state = info.swarm.and_then(|swarm| swarm.local_node_state);
    ensure!(
        matches!(
            state,
            None | Some(LocalNodeState::EMPTY | LocalNodeState::INACTIVE)
        ),
        "this engine is in a swarm; the comparison needs one that is in none"
    );
    let has_gateway = engine.docker().inspect_network(GATEWAY, None).await.is_ok();
    let labels = [
        (LABEL_RUN.to_owned(), engine.run().to_owned()),
        (LABEL_GATEWAY.to_owned(), has_gateway.to_string()),
    ];
    let request = SwarmInitRequest {
        listen_addr: Some("127.0.0.1:2377".to_owned()),
        advertise_addr: Some("127.0.0.1".to_owned()),
        spec: Some(SwarmSpec {
            labels: Some(labels.into_iter().collect()),
            ..SwarmSpec::default()
        }),
        ..SwarmInitRequest::default()
    };
    engine
        .docker()
        .init_swarm(request)
        .await
        .context("cannot make a swarm")?;
    let measured = in_swarm(engine, count, with_faults).await;
    leave(engine).await?;
    measured
}

/// Leaves the swarm if it is this run's, and removes what it leaves on the host.
pub(crate) async fn leave(engine: &Engine) -> anyhow::Result<()> {
    let Ok(swarm) = engine.docker().inspect_swarm().await else {
        return Ok(());
    };
    let labels = swarm.spec.and_then(|spec| spec.labels).unwrap_or_default();
    if labels.get(LABEL_RUN).map(String::as_str) != Some(engine.run()) {
        return Ok(());
    }
    let options = LeaveSwarmOptions { force: true };
    engine
        .docker()
        .leave_swarm(Some(options))
        .await
        .context("cannot leave the swarm")?;
    engine.clear().await?;
    if labels.get(LABEL_GATEWAY).map(String::as_str) == Some("false") {
        // Kept when something else came to use it meanwhile.
        let _ = engine.docker().remove_network(GATEWAY).await;
    }
    Ok(())
}

async fn in_swarm(engine: &Engine, count: u16, with_faults: bool) -> anyhow::Result<Swarm> {
    let since = now();
    let creations = futures::stream::iter(0..count).map(|number| {
        engine
            .docker()
            .create_service(service(engine, number), None)
    });
    let creations = creations.buffer_unordered(WIDE).map_ok(drop);
    creations
        .try_collect::<()>()
        .await
        .context("cannot create services")?;
    engine
        .until_started(Side::Swarm, since, usize::from(count))
        .await?;
    let converged = engine
        .last_start(Side::Swarm, since, usize::from(count))
        .await?;
    say(&format!("{count} services: Swarm {converged:.2?}"));
    let mut repaired = Vec::new();
    for fault in Fault::ALL.into_iter().filter(|_| with_faults) {
        say(&format!("{FAULTS} times, Swarm: {}", fault.words()));
        let mut times = Vec::new();
        for number in 0..FAULTS {
            let container = running_task(engine, number % count).await?;
            let took = repair::inflicted(engine, fault, &container, Side::Swarm).await;
            times.push(took.with_context(|| fault.words())?);
        }
        repaired.push((fault, Times::new(times)?));
    }
    Ok(Swarm {
        converged,
        repaired,
    })
}

/// The container of a service's task, once it runs.
async fn running_task(engine: &Engine, number: u16) -> anyhow::Result<String> {
    let mut labels = engine.labels(Side::Swarm);
    labels.push(format!(
        "com.docker.swarm.service.name={}",
        service_name(engine, number)
    ));
    let looking = async {
        loop {
            for id in engine.containers(labels.clone()).await? {
                if engine.running(&id).await?.is_some() {
                    return Ok(id);
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.context("a task of Swarm does not run")?
}

fn service_name(engine: &Engine, number: u16) -> String {
    format!("clos-bench-{}-{number:03}", engine.run())
}

fn service(engine: &Engine, number: u16) -> ServiceSpec {
    let labels = [
        (LABEL_RUN.to_owned(), engine.run().to_owned()),
        (LABEL_SIDE.to_owned(), Side::Swarm.as_str().to_owned()),
    ];
    ServiceSpec {
        name: Some(service_name(engine, number)),
        labels: Some(labels.iter().cloned().collect()),
        task_template: Some(TaskSpec {
            container_spec: Some(TaskSpecContainerSpec {
                image: Some(IMAGE.to_owned()),
                command: Some(COMMAND.map(str::to_owned).to_vec()),
                labels: Some(labels.into_iter().collect()),
                ..TaskSpecContainerSpec::default()
            }),
            networks: Some(vec![NetworkAttachmentConfig {
                target: Some("bridge".to_owned()),
                ..NetworkAttachmentConfig::default()
            }]),
            ..TaskSpec::default()
        }),
        mode: Some(ServiceSpecMode {
            replicated: Some(ServiceSpecModeReplicated { replicas: Some(1) }),
            ..ServiceSpecMode::default()
        }),
        ..ServiceSpec::default()
    }
}
