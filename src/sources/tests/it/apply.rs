//! Checking and applying sets: mistakes, ownership of fields, pruning, and being stopped anywhere.

use clos_sources::{SyncOptions, apply, prepare};
use futures::FutureExt as _;
use serde_json::json;

use crate::support::{SERVICES, Server, service, shop};

const SHOP: &str = "\
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Secret
metadata: { name: shop, namespace: shop }
stringData: { db-password: hunter2 }
---
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: shop, namespace: shop }
spec: { description: The shop }
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: db, namespace: shop }
spec:
  group: shop
  image: postgres:17
  env:
  - { name: POSTGRES_PASSWORD, valueFrom: { secretKeyRef: { name: shop, key: db-password } } }
  mounts:
  - { mountPath: /var/lib/postgresql/data, volume: { name: db } }
  ports:
  - { containerPort: 5432 }
  resources: { limits: { cpu: 1, memory: 512Mi } }
  stopGracePeriod: 30s
";

#[tokio::test]
async fn i12_every_mistake_the_api_finds_is_told_with_file_and_line_and_nothing_is_applied() {
    let server = Server::new().await;
    let web = "\
apiVersion: clos.dev/v1alpha1
kind: Service
metadata:
  name: web
spec:
  group: shop
  image: shop/web:1
  ports:
  - containerPort: 80
    hostPort: 80000
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: worker }
spec: { group: shop, image: a, replicas: many }
---
apiVersion: clos.dev/v1alpha1
kind: Servis
metadata: { name: typo }
";
    let db = "\
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  group: shop
  image: postgres
  imagee: postgres:17
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: Upper }
spec:
  group: shop
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: lost, namespace: nowhere }
spec: { group: shop, image: a }
";
    let before = server.writes();
    let said = server
        .sync(
            &[
                ("shop/web.yaml", web),
                ("shop/db.yaml", db),
                ("shop/x.json", "{\"a\": "),
            ],
            &shop(),
        )
        .await
        .unwrap_err();
    insta::assert_snapshot!(said);
    assert_eq!(server.writes(), before);
}

#[tokio::test]
async fn i7_a_mistake_in_an_existing_object_leaves_it_as_it_was() {
    let server = Server::new().await;
    server
        .synced(&[("a.yaml", &service("web", "good"))], &shop())
        .await;
    let before = server.writes();
    let wrong = service("web", "better")
        .replace("spec: {", "spec:\n  {")
        .replace("\"image\"", "\"portz\":[],\"image\"");
    let said = server
        .sync(&[("a.yaml", &wrong)], &shop())
        .await
        .unwrap_err();
    assert_eq!(
        said,
        "a.yaml:6: Service web: spec.portz: unknown field; did you mean \"ports\"?\n1 mistake, nothing was applied. The running services were not touched."
    );
    assert_eq!(server.writes(), before);
}

#[tokio::test]
async fn a_new_namespace_and_what_lies_in_it_are_applied_in_one_go_and_i2_a_second_time_writes_nothing()
 {
    let server = Server::new().await;
    let changed = server.synced(&[("shop.yaml", SHOP)], &shop()).await;
    assert_eq!(
        changed,
        [
            "Namespace shop created",
            "Secret shop/shop created",
            "Group shop/shop created",
            "Service shop/db created"
        ]
    );
    let before = server.writes();
    assert_eq!(
        server.synced(&[("shop.yaml", SHOP)], &shop()).await,
        Vec::<String>::new()
    );
    assert_eq!(server.writes(), before);
}

#[tokio::test]
async fn mistakes_in_a_namespace_that_does_not_exist_yet_are_found() {
    let server = Server::new().await;
    let before = server.writes();
    let said = server
        .sync(
            &[(
                "shop.yaml",
                &SHOP.replace("image: postgres:17", "imago: postgres:17"),
            )],
            &shop(),
        )
        .await
        .unwrap_err();
    assert!(
        said.contains(
            "shop.yaml:20: Service db: spec.imago: unknown field; did you mean \"image\"?"
        ),
        "{said}"
    );
    assert_eq!(server.writes(), before);
}

#[tokio::test]
async fn i9_the_record_of_what_was_applied_holds_no_values() {
    let server = Server::new().await;
    server.synced(&[("shop.yaml", SHOP)], &shop()).await;
    let mut secret = server
        .get("/api/v1/namespaces/shop/secrets/shop")
        .await
        .unwrap();
    let data = secret["data"].take();
    assert_eq!(data["db-password"], "aHVudGVyMg==");
    let text = secret.to_string();
    assert!(
        !text.contains("hunter2") && !text.contains("aHVudGVyMg"),
        "{text}"
    );
}

#[tokio::test]
async fn what_others_declare_stays_and_what_is_declared_no_more_goes() {
    let server = Server::new().await;
    server
        .synced(
            &[(
                "a.yaml",
                &service("web", "a").replace("\"image\"", "\"description\":\"x\",\"image\""),
            )],
            &shop(),
        )
        .await;
    let path = format!("{SERVICES}/web");
    server.merge(&path, &json!({ "spec": { "replicas": 3, "state": "Stopped" }, "metadata": { "labels": { "team": "a" } } })).await;
    assert_eq!(
        server
            .synced(&[("a.yaml", &service("web", "b"))], &shop())
            .await,
        ["Service default/web configured"]
    );
    let web = server.service("web").await.unwrap();
    assert_eq!(web["spec"]["image"], "b");
    assert_eq!(web["spec"]["replicas"], 3);
    assert_eq!(web["spec"]["state"], "Stopped");
    assert_eq!(web["spec"].get("description"), None);
    assert_eq!(web["metadata"]["labels"]["team"], "a");
}

#[tokio::test]
async fn objects_are_pruned_when_the_source_applied_them_and_only_then() {
    let server = Server::new().await;
    server
        .synced(
            &[(
                "a.yaml",
                &(service("web", "a") + &service("db", "a") + &service("kept", "a")),
            )],
            &shop(),
        )
        .await;
    // Made anew by somebody: it carries the label and is another object.
    server.delete(&format!("{SERVICES}/db")).await;
    let group = "apiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: { name: shop }\nspec: {}\n";
    let copied = group.to_owned() + &service("db", "theirs");
    server
        .synced(&[("by-hand.yaml", &copied)], &SyncOptions::default())
        .await;
    server
        .merge(
            &format!("{SERVICES}/db"),
            &json!({ "metadata": { "labels": { "clos.dev/source": "shop" } } }),
        )
        .await;
    let changed = server
        .synced(&[("a.yaml", &service("kept", "a"))], &shop())
        .await;
    assert_eq!(changed, ["Service default/web pruned"]);
    assert!(server.service("db").await.is_some());
}

#[tokio::test]
async fn i8_a_damaged_inventory_stops_everything() {
    let server = Server::new().await;
    server
        .synced(&[("a.yaml", &service("web", "a"))], &shop())
        .await;
    server
        .merge(
            "/api/v1/namespaces/clos-system/configmaps/source-shop",
            &json!({ "data": { "objects": "{" } }),
        )
        .await;
    let said = server
        .sync(&[("a.yaml", &service("db", "a"))], &shop())
        .await
        .unwrap_err();
    assert_eq!(
        said,
        "cannot see what the API holds: ConfigMap clos-system/source-shop is damaged; delete it to start a new one, which prunes \
         nothing of the old one: the inventory cannot be read: EOF while parsing an object at line 1 column 1"
    );
    assert!(server.service("web").await.is_some() && server.service("db").await.is_none());
}

#[tokio::test]
async fn two_sources_do_not_fight_over_an_object() {
    let server = Server::new().await;
    server
        .synced(&[("a.yaml", &service("web", "a"))], &shop())
        .await;
    let other = SyncOptions {
        source: Some("other".to_owned()),
        ..shop()
    };
    let said = server
        .sync(&[("b.yaml", &service("web", "b"))], &other)
        .await
        .unwrap_err();
    assert!(
        said.starts_with("b.yaml:2: Service web: is applied by the source \"shop\" already"),
        "{said}"
    );
    assert_eq!(server.service("web").await.unwrap()["spec"]["image"], "a");
}

#[tokio::test]
async fn an_apply_that_is_cut_off_anywhere_is_made_up_for_by_the_next() {
    for polls in (0..60).step_by(5) {
        let server = Server::new().await;
        let old = service("old", "a") + &service("web", "a");
        server.synced(&[("a.yaml", &old)], &shop()).await;
        let new = format!("{SHOP}{}{}", service("web", "b"), service("new", "b"));
        let files = [("a.yaml", new.as_str())];
        let desired = server.desired(&files).await;
        let options = shop();
        let prepared = prepare(&server.client, &desired, &options).await.unwrap();
        {
            let mut progress = |_: &_, _: Result<_, &_>| {};
            let mut cut = Box::pin(apply(&server.client, &prepared, &mut progress));
            for _ in 0..polls {
                if cut.as_mut().now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // Settled: what was under way in the server has ended when the next answer is there.
        server.sync(&files, &shop()).await.unwrap();
        server.sync(&files, &shop()).await.unwrap();
        let before = server.writes();
        assert_eq!(
            server.synced(&files, &shop()).await,
            Vec::<String>::new(),
            "after {polls} polls"
        );
        assert_eq!(server.writes(), before, "after {polls} polls");
        assert_eq!(server.service("web").await.unwrap()["spec"]["image"], "b");
        assert!(server.service("old").await.is_none(), "after {polls} polls");
    }
}

#[tokio::test]
async fn a_plan_and_its_check_change_nothing() {
    let server = Server::new().await;
    let before = server.writes();
    let desired = server.desired(&[("shop.yaml", SHOP)]).await;
    let options = shop();
    let prepared = prepare(&server.client, &desired, &options).await.unwrap();
    assert_eq!(prepared.plan().actions.len(), 4);
    assert_eq!(server.writes(), before);
}
