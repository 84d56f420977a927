//! Carrying out the steps that change what is declared: through the folder of YAML, through the API and through kubectl.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use clos_resources::names::ANNOTATION_RESTARTED_AT;
use jiff::Timestamp;
use serde_json::json;

use crate::api::Write;
use crate::manifest::{self, VALUES};
use crate::model::{GROUPS, GUESTS, Model};
use crate::pause;
use crate::step::Change;
use crate::world::World;

/// So many objects may be on their way out of the folder at once.
const MOST_LEAVING: usize = 2;

/// How long something wrong stands in the folder: longer than the server waits before it reads a folder that changed.
const MISTAKEN: Duration = Duration::from_millis(700);

impl World {
    /// Declares a service that is not there.
    pub(crate) fn add(&mut self, model: &Model, slot: usize) -> anyhow::Result<()> {
        self.until_left(&self.service_path(slot))?;
        if Model::by_api(slot) {
            let object = manifest::service(&self.names, slot, &model.services[&slot]);
            self.write(&Write::create(&self.services_path(), object))?;
        } else {
            self.write_service(model, slot);
        }
        Ok(())
    }

    /// Declares what the model says about a service. `change` is what is new about it.
    pub(crate) fn change(
        &mut self,
        model: &Model,
        slot: usize,
        change: Change,
    ) -> anyhow::Result<()> {
        let service = &model.services[&slot];
        let by_people = change.is_left_to_people() && !service.says_all;
        if by_people {
            let (replicas, state) = (
                service.replicas,
                if service.stopped {
                    "Stopped"
                } else {
                    "Running"
                },
            );
            let patch = json!({"spec": {"replicas": replicas, "state": state}});
            self.patch_by_kubectl(slot, &patch.to_string())
        } else {
            self.declare(model, slot)
        }
    }

    /// Declares all about a service as it is in the model.
    pub(crate) fn declare(&mut self, model: &Model, slot: usize) -> anyhow::Result<()> {
        if Model::by_api(slot) {
            let spec = manifest::full_spec(&self.names, &model.services[&slot]);
            self.write(&Write::patch(
                &self.service_path(slot),
                json!({"spec": spec}),
            ))?;
        } else {
            self.write_service(model, slot);
        }
        Ok(())
    }

    /// Declares a service no more.
    pub(crate) fn remove(&mut self, slot: usize) -> anyhow::Result<()> {
        self.restarts.remove(&slot);
        let path = self.service_path(slot);
        if Model::by_api(slot) {
            self.write(&Write::delete(&path))?;
        } else {
            self.server.remove(&format!("{}.yaml", Model::name(slot)));
        }
        self.leave(path)
    }

    /// Another colour and the old one again, without a pause.
    pub(crate) fn flip(&mut self, model: &Model, slot: usize) -> anyhow::Result<()> {
        let mut other = model.clone();
        if let Some(service) = other.services.get_mut(&slot) {
            service.colour += 100_000;
        }
        self.declare(&other, slot)?;
        self.declare(model, slot)?;
        self.declare(&other, slot)?;
        self.declare(model, slot)
    }

    /// Asks for a restart, as people do.
    pub(crate) fn restart(&mut self, slot: usize) -> anyhow::Result<()> {
        let now = now().to_string();
        let patch = json!({"metadata": {"annotations": {ANNOTATION_RESTARTED_AT: now}}});
        self.patch_by_kubectl(slot, &patch.to_string())?;
        self.restarts.insert(slot, now);
        Ok(())
    }

    /// One service without a port, then another one with it.
    pub(crate) fn move_port(
        &mut self,
        model: &Model,
        from: usize,
        to: usize,
    ) -> anyhow::Result<()> {
        self.declare(model, from)?;
        self.declare(model, to)
    }

    pub(crate) fn group(&mut self, model: &Model, group: usize) {
        let object = manifest::group(&self.names, model, group);
        self.write_file(&format!("group-{}", GROUPS[group]), &object);
    }

    pub(crate) fn values(&mut self, model: &Model, which: usize) -> anyhow::Result<()> {
        let Some(version) = model.values[which] else {
            self.server.remove(&format!("{}.yaml", VALUES[which]));
            return self.leave(self.values_path(which));
        };
        self.until_left(&self.values_path(which))?;
        let object = manifest::values(&self.names, which, version);
        self.write_file(VALUES[which], &object);
        Ok(())
    }

    /// Declares something that cannot be right. The service must still be there; then it is declared rightly again.
    pub(crate) fn invalid(&mut self, model: &Model, slot: usize) -> anyhow::Result<()> {
        let path = self.service_path(slot);
        let before = self.uid(&path)?;
        if Model::by_api(slot) {
            let wrong = Write::patch(&path, json!({"spec": {"replicas": -1, "image": "no good"}}));
            let answer = self.api()?.send(&wrong)?;
            anyhow::ensure!(
                answer.code == 422,
                "an invalid patch of {path} was answered {}: {}",
                answer.code,
                answer.body
            );
        } else {
            let mut object = manifest::service(&self.names, slot, &model.services[&slot]);
            object["spec"]["stopGracePeriod"] = json!("soon");
            self.write_file(&Model::name(slot), &object);
            pause(MISTAKEN);
        }
        self.still_there(&path, before.as_deref())?;
        if !Model::by_api(slot) {
            self.write_service(model, slot);
        }
        Ok(())
    }

    /// Half of a file, and the rest a while later.
    pub(crate) fn half_written(&mut self, model: &Model, slot: usize) -> anyhow::Result<()> {
        let path = self.service_path(slot);
        let before = self.uid(&path)?;
        let object = manifest::service(&self.names, slot, &model.services[&slot]);
        let text = format!("{object:#}");
        let file = self
            .server
            .source()
            .join(format!("{}.yaml", Model::name(slot)));
        fs::write(&file, &text[..text.len() / 2])
            .with_context(|| format!("cannot write {}", file.display()))?;
        pause(MISTAKEN);
        self.still_there(&path, before.as_deref())?;
        self.write_service(model, slot);
        Ok(())
    }

    /// Deletes a Service that the folder declares, and waits until the folder brought it back.
    pub(crate) fn delete_object(&mut self, model: &Model, slot: usize) -> anyhow::Result<()> {
        self.restarts.remove(&slot);
        let path = self.service_path(slot);
        let before = self.until("the service is made", |world| world.uid(&path))?;
        let name = Model::name(slot);
        let object = format!("clos.dev/v1alpha1 Service {}/{name}", self.names.namespace);
        self.kubectl(&["delete", "csvc", &name, "--wait=false"], "delete", object)?;
        self.until("the service is made again", |world| {
            world.write_service(model, slot);
            pause(Duration::from_secs(1));
            Ok(world.uid(&path)?.filter(|uid| *uid != before))
        })?;
        Ok(())
    }

    /// Deletes an Instance; its Service makes another one.
    pub(crate) fn delete_instance(&mut self, slot: usize, ordinal: u32) {
        let name = format!("{}-{ordinal}", Model::name(slot));
        let output = self
            .server
            .kubectl(&["delete", "cinst", &name, "--wait=false"]);
        if output.status.success() {
            let object = format!("clos.dev/v1alpha1 Instance {}/{name}", self.names.namespace);
            self.by_kubectl.push(crate::journal::ByKubectl {
                verb: "delete",
                object,
            });
        } else {
            self.missed += 1;
        }
    }

    /// Makes the second namespace with its services, or removes it whole.
    pub(crate) fn guests(&mut self, there: bool) -> anyhow::Result<()> {
        let namespace = format!("/api/v1/namespaces/{}", self.names.guests);
        if !there {
            self.write(&Write::delete(&namespace))?;
            return Ok(());
        }
        for object in manifest::guests(&self.names, GUESTS) {
            let collection = match object["kind"].as_str() {
                Some("Namespace") => "/api/v1/namespaces".to_owned(),
                Some("Group") => format!(
                    "/apis/clos.dev/v1alpha1/namespaces/{}/groups",
                    self.names.guests
                ),
                _ => format!(
                    "/apis/clos.dev/v1alpha1/namespaces/{}/services",
                    self.names.guests
                ),
            };
            self.write(&Write::create(&collection, object))?;
        }
        Ok(())
    }

    fn write_service(&self, model: &Model, slot: usize) {
        let object = manifest::service(&self.names, slot, &model.services[&slot]);
        self.write_file(&Model::name(slot), &object);
    }

    fn patch_by_kubectl(&mut self, slot: usize, patch: &str) -> anyhow::Result<()> {
        let name = Model::name(slot);
        let object = format!("clos.dev/v1alpha1 Service {}/{name}", self.names.namespace);
        self.kubectl(
            &["patch", "csvc", &name, "--type=merge", "-p", patch],
            "patch",
            object,
        )
    }

    fn values_path(&self, which: usize) -> String {
        let plural = ["secrets", "configmaps"][which];
        format!(
            "/api/v1/namespaces/{}/{plural}/{}",
            self.names.namespace,
            manifest::VALUES_NAME
        )
    }

    /// An object is on its way out. A folder that loses much at once is taken for a mistake.
    fn leave(&mut self, path: String) -> anyhow::Result<()> {
        self.leaving.insert(path);
        while self.leaving.len() > MOST_LEAVING {
            let path = self.leaving.first().cloned().unwrap_or_default();
            self.until_left(&path)?;
        }
        Ok(())
    }

    /// Waits until an object is gone, if it is on its way out: one of the same name is to be another one.
    fn until_left(&mut self, path: &str) -> anyhow::Result<()> {
        if self.leaving.remove(path) {
            self.until(&format!("{path} is gone"), |world| {
                Ok(world.uid(path)?.is_none().then_some(()))
            })?;
        }
        Ok(())
    }

    fn still_there(&self, path: &str, before: Option<&str>) -> anyhow::Result<()> {
        let after = self.uid(path)?;
        anyhow::ensure!(
            before.is_none() || after.as_deref() == before,
            "a mistake in a declaration removed {path}"
        );
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a restart is asked for with the time at which it is"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
