//! What is around containers: images, networks, volumes, and containers that are not ours.

use super::*;

#[tokio::test]
async fn images_are_pulled_with_progress_or_refused_in_the_registrys_words() {
    let engine = FakeEngine::builder()
        .pullable(FakeImage::new("web"))
        .denied("secret", "denied")
        .unpullable_for_now("slow", "EOF")
        .build();
    let pull = |image: &str| EngineAction::PullImage {
        image: image.to_owned(),
    };
    let steps = Mutex::new(Vec::new());
    engine
        .execute(&pull("web"), &|progress| {
            steps.lock().unwrap().push(progress.current);
        })
        .await
        .unwrap();
    assert_eq!(*steps.lock().unwrap(), [0, 1000]);
    create(&engine, options("web", "web", None))
        .await
        .expect("the image is there");
    let failed = |message: &str, transient| {
        Err(Error::Pull {
            message: message.to_owned(),
            transient,
        })
    };
    assert_eq!(
        engine.execute(&pull("secret"), &nothing).await,
        failed("denied", false)
    );
    assert_eq!(
        engine.execute(&pull("slow"), &nothing).await,
        failed("EOF", true)
    );
}

#[tokio::test]
async fn networks_and_volumes_are_made_once_and_a_used_network_stays() {
    let engine = FakeEngine::builder().image("web").build();
    let network = NetworkOptions {
        name: "net".to_owned(),
        labels: BTreeMap::new(),
    };
    let make = EngineAction::CreateNetwork(network);
    engine.execute(&make, &nothing).await.unwrap();
    engine.execute(&make, &nothing).await.unwrap();
    let networks: Vec<Network> = engine
        .all_networks()
        .into_iter()
        .filter(|network| network.name == "net")
        .collect();
    assert_eq!(networks.len(), 1);
    let id = create(
        &engine,
        ContainerOptions {
            network: "net".to_owned(),
            ..options("web", "web", None)
        },
    )
    .await
    .unwrap();
    start(&engine, &id).await.unwrap();
    let remove = EngineAction::RemoveNetwork {
        id: networks[0].id.clone(),
        name: "net".to_owned(),
    };
    assert!(matches!(
        engine.execute(&remove, &nothing).await,
        Err(Error::Failed(_))
    ));
    engine.kill_by_hand(&id);
    assert_eq!(engine.execute(&remove, &nothing).await, Ok(Done::Nothing));
    assert!(
        matches!(start(&engine, &id).await, Err(Error::NotFound(_))),
        "its network is gone"
    );
}

#[tokio::test]
async fn a_foreign_container_tells_nothing_and_is_not_listed() {
    let engine = FakeEngine::builder().image("web").build();
    let mut events = engine.events();
    let id = engine
        .run_by_hand("decoy", "web", BTreeMap::new(), BTreeSet::new())
        .unwrap();
    engine.kill_by_hand(&id);
    assert_eq!(told(&mut events), []);
    assert_eq!(engine.list().await, Ok(Vec::new()));
    let scope = Scope {
        instance_uid: "uid".to_owned(),
        container_name: "decoy".to_owned(),
        network_name: "net".to_owned(),
        volumes: Vec::new(),
        image: None,
    };
    assert!(
        engine
            .observe(&scope)
            .await
            .unwrap()
            .containers
            .contains_key(&id),
        "it is in the way of the name"
    );
}
