//! What is said of an Instance that the engine, which answers, fails at showing. Trying again is the error policy's.

use clos_plan::desired::{Desired, Unresolved};
use clos_plan::instance::plan;
use clos_plan::observed::EngineView;
use clos_plan::status::{Outcome, instance_status};
use clos_telemetry::Chain;
use kube::ResourceExt;

use super::read::Read;
use super::{Agent, Error};

impl Agent {
    /// Writes into the status that the Instance cannot be looked at, once that has lasted for more than a look. Gives the failure back.
    pub(super) async fn unseen(
        &self,
        read: &Read,
        desired: &Result<Desired<'_>, Unresolved>,
        error: Error,
    ) -> Result<Error, Error> {
        let now = (self.clock)();
        let uid = read.instance.uid().unwrap_or_default();
        let Some(since) = self.memory.unseen(&uid, now) else {
            return Ok(error);
        };
        let reason = Chain(&error).to_string();
        let view = EngineView::Unknown { since, reason };
        let platform = self.executor.gate.platform();
        let input = self.input(read, desired, &view, &platform, now);
        let planned = plan(&input);
        let mut status = instance_status(&input, &planned, &Outcome::AllDone, None, &view);
        self.mask(&mut status);
        self.write(&read.instance, read.written.as_ref(), &status)
            .await?;
        Ok(error)
    }
}
