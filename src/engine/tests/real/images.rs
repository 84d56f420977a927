//! Images: facts, pulls, and commands that they do not have.

use clos_engine::engine::Engine;
use clos_engine::error::Error;
use clos_engine::events::Happened;
use clos_plan::action::EngineAction;
use clos_plan::container::ContainerOptions;
use clos_plan::observed::{Container, ContainerState, Health};

use crate::bench::Bench;
use crate::image;
use crate::lifecycle::FOREVER;

#[tokio::test]
async fn an_image_that_is_not_there_is_not_found_and_its_pull_says_why() {
    let bench = Bench::new().await;
    let options = ContainerOptions {
        image: "clos-engine-test/nowhere:1".to_owned(),
        ..bench.options("web", FOREVER)
    };
    let refused = bench.create(options).await;
    assert!(
        matches!(&refused, Err(Error::NotFound(words)) if words.contains("No such image")),
        "{refused:?}"
    );
    let pulled = bench
        .execute(EngineAction::PullImage {
            image: "127.0.0.1:1/nowhere:1".to_owned(),
        })
        .await;
    assert!(
        matches!(&pulled, Err(Error::Pull { transient: true, message }) if message.contains("refused")),
        "{pulled:?}"
    );
    let pulled = bench
        .execute(EngineAction::PullImage {
            image: "Not A Name".to_owned(),
        })
        .await;
    assert!(
        matches!(
            &pulled,
            Err(Error::Pull {
                transient: false,
                ..
            })
        ),
        "{pulled:?}"
    );
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_refused_and_leaves_the_container_created() {
    let bench = Bench::new().await;
    let mut options = bench.options("web", "");
    options.command = vec!["/no/such/command".to_owned()];
    let id = bench.create(options).await.unwrap();
    let refused = bench.start(&id).await;
    assert!(
        matches!(&refused, Err(Error::Refused(words)) if words.contains("/no/such/command")),
        "{refused:?}"
    );
    assert_eq!(bench.container("web").await.state, ContainerState::Created);
}

#[tokio::test]
async fn the_images_facts_and_its_own_health_check_are_seen() {
    let bench = Bench::new().await;
    let info = bench.engine.info().await.unwrap();
    let plain = bench.observe("web").await.image.unwrap();
    assert_eq!(
        (&plain.architecture, &plain.operating_system),
        (&info.engine.architecture, &info.engine.operating_system)
    );
    assert!(
        !plain.has_health_check && plain.id.starts_with("sha256:"),
        "{plain:?}"
    );

    let mut scope = bench.scope("web");
    scope.image = Some(image::CHECKED.to_owned());
    assert!(
        bench
            .engine
            .observe(&scope)
            .await
            .unwrap()
            .image
            .unwrap()
            .has_health_check
    );

    let mut events = bench.events().await;
    let script = "sleep 1; until test -e /sick; do sleep 0.1; done; sleep 1000";
    bench
        .run(ContainerOptions {
            image: image::CHECKED.to_owned(),
            ..bench.options("web", script)
        })
        .await;
    events.up_to(&Happened::Health).await;
    let healthy = |health| move |container: &Container| matches!(&container.state, ContainerState::Running { health: said, .. } if *said == health);
    bench.until("web", healthy(Health::Healthy)).await;
}
