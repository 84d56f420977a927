//! Engines that are away, hang, die and lose events, and calls that are made to fail.

use super::*;

#[tokio::test]
async fn an_engine_that_is_away_loses_events_and_says_so() {
    let engine = FakeEngine::builder().image("web").build();
    let id = running(&engine, "web", "web").await;
    let mut events = engine.events();
    assert_eq!(events.next().await, Some(EngineEvent::Connected));
    engine.go_away();
    assert!(matches!(
        events.next().await,
        Some(EngineEvent::Lost { .. })
    ));
    assert!(matches!(
        engine.list().await,
        Err(Error::Unreachable { .. })
    ));
    engine.kill_by_hand(&id);
    engine.come_back();
    assert_eq!(events.next().await, Some(EngineEvent::Connected));
    assert_eq!(told(&mut events), []);
    assert_eq!(exit(&engine, &id), (137, false));
}

#[tokio::test]
async fn a_hung_engine_fails_calls_by_their_deadline_without_effect() {
    let engine = FakeEngine::builder()
        .image("web")
        .deadline(Duration::from_millis(1))
        .build();
    engine.hang();
    assert!(matches!(
        create(&engine, options("web", "web", None)).await,
        Err(Error::Deadline { .. })
    ));
    engine.come_back();
    assert_eq!(engine.containers(), []);
}

#[tokio::test]
async fn an_engine_killed_and_started_again_shows_exit_code_0_without_an_event() {
    let engine = FakeEngine::builder().image("web").build();
    let id = running(&engine, "web", "web").await;
    let mut events = engine.events();
    engine.restart_engine_by_sigkill();
    assert_eq!(told(&mut events), []);
    assert_eq!(exit(&engine, &id), (0, false));
}

#[tokio::test]
async fn faults_are_used_up_call_by_call() {
    let engine = FakeEngine::builder().image("web").build();
    engine.fail_next(Call::CreateContainer, 1, &Error::Failed("busy".to_owned()));
    engine.cut_answer_of_next(Call::CreateContainer);
    assert_eq!(
        create(&engine, options("web", "web", None)).await,
        Err(Error::Failed("busy".to_owned()))
    );
    assert_eq!(engine.containers(), []);
    assert!(
        create(&engine, options("web", "web", None))
            .await
            .unwrap_err()
            .leaves_unknown()
    );
    assert_eq!(engine.containers().len(), 1, "it took effect");
    assert!(matches!(
        create(&engine, options("web", "web", None)).await,
        Err(Error::NameTaken(_))
    ));
    assert_eq!(engine.mutating_calls().len(), 3);
    engine.list().await.unwrap();
    assert_eq!(
        (engine.mutating_calls().len(), engine.calls().len()),
        (3, 4)
    );
}

#[tokio::test]
async fn a_held_call_waits_and_others_do_not() {
    let engine = FakeEngine::builder()
        .image("web")
        .pullable(FakeImage::new("big"))
        .build();
    engine.hold(Call::Pull);
    let pull = EngineAction::PullImage {
        image: "big".to_owned(),
    };
    let pulling = engine.execute(&pull, &nothing);
    let meanwhile = async {
        engine
            .until_calls(|calls| calls.iter().any(|call| call == "pull image big"))
            .await;
        running(&engine, "web", "web").await;
        engine.release(Call::Pull);
    };
    assert_eq!(futures::join!(pulling, meanwhile).0, Ok(Done::Nothing));
}

#[tokio::test]
async fn events_are_lost_doubled_late_and_out_of_order_on_demand() {
    let engine = FakeEngine::builder().image("web").build();
    let mut events = engine.events();
    engine.drop_events(1);
    let id = running(&engine, "web", "web").await;
    assert_eq!(told(&mut events), [Happened::Started]);
    engine.double_events(true);
    engine.crash(&id, 1);
    assert_eq!(told(&mut events), [died(1), died(1)]);
    engine.double_events(false);
    engine.hold_events();
    engine.start_by_hand(&id).unwrap();
    engine.crash(&id, 2);
    assert_eq!(told(&mut events), []);
    engine.release_events(true);
    assert_eq!(told(&mut events), [died(2), Happened::Started]);
}
