//! Worlds with one Instance, `db-0`, in the states that most scenarios begin with.

use std::collections::BTreeMap;

use clos_plan::desired::Values;
use clos_plan::observed::{Container, ContainerState};
use clos_resources::Service;
use serde_json::json;

use crate::world::{World, service};

pub(crate) const DB: &str = "clos_default_db-0";

/// A service that uses everything an Instance can.
pub(crate) fn db() -> Service {
    service(
        "db",
        json!({
            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "password"}}}],
            "mounts": [{"mountPath": "/data/", "volume": {"name": "db"}}, {"mountPath": "/tmp", "tmpfs": {}}],
            "ports": [{"containerPort": 5432, "hostPort": 5432}],
            "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}},
        }),
    )
}

pub(crate) fn secret(password: &str) -> Values {
    let data = BTreeMap::from([("password".to_owned(), password.as_bytes().to_vec())]);
    Values {
        secrets: BTreeMap::from([("shop".to_owned(), Some(data))]),
        ..Values::default()
    }
}

pub(crate) fn declared() -> World {
    let mut world = World::new([db()]);
    world.values = secret("hunter2");
    world.pass_service("db");
    world
}

pub(crate) fn running() -> World {
    let mut world = declared();
    world.settle();
    world
}

/// A service without anything besides its image.
pub(crate) fn plain(fields: serde_json::Value) -> World {
    World::running([service("db", fields)])
}

pub(crate) trait Ended {
    fn state_ended(&self) -> bool;
}

impl Ended for Container {
    fn state_ended(&self) -> bool {
        matches!(self.state, ContainerState::Exited { .. })
    }
}
