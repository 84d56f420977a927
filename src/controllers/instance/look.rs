//! Step 3 of the agent: what the engine shows of one Instance.

use std::time::Duration;

use clos_engine::engine::Scope;
use clos_plan::desired::{container_name, network_name, volume_names};
use clos_plan::instance::InstancePlan;
use clos_plan::observed::EngineView;
use clos_resources::Instance;
use kube::ResourceExt;
use tokio::time::timeout;

use super::heard::Runs;
use super::{Agent, Error};
use crate::gate::{EngineState, Steps};

/// The engine tells of a start before it answers, or as soon.
const AT_ONCE: Duration = Duration::from_millis(20);

/// What crashes again and again mostly does so within this.
const SOON: Duration = Duration::from_secs(1);

impl Agent {
    /// What the engine shows of an Instance, and what is to be done about that. What was seen a moment ago is good enough to find that nothing is;
    /// nothing is done without a look of this pass.
    pub(super) async fn see(
        &self,
        instance: &Instance,
        think: impl Fn(&EngineView) -> InstancePlan + Send + Sync,
    ) -> Result<(EngineView, InstancePlan), Error> {
        if let Some(view) = self.recall(instance) {
            let planned = think(&view);
            if planned.plan.is_empty() && !planned.gone && planned.unheard.is_none() {
                return Ok((view, planned));
            }
        }
        let mut view = self.observe(instance).await?;
        let planned = think(&view);
        if !self.learn(&mut view, &planned).await {
            return Ok((view, planned));
        }
        let planned = think(&view);
        Ok((view, planned))
    }

    /// What the engine showed a moment ago, if nothing was heard since.
    fn recall(&self, instance: &Instance) -> Option<EngineView> {
        let gate = &self.executor.gate;
        let EngineState::Known(known) = gate.state() else {
            return None;
        };
        // Where no events come, nothing is heard.
        let by_events = known.steps == Steps::Events;
        let seen = by_events.then(|| self.memory.heard.still(&scope(instance), gate.doubts()));
        seen.flatten().map(EngineView::Known)
    }

    /// Asks the engine what a plan wants to know besides, and says whether there was anything.
    async fn learn(&self, view: &mut EngineView, planned: &InstancePlan) -> bool {
        if let Some(ended) = &planned.unheard {
            self.listen(view, ended).await;
            return true;
        }
        let EngineView::Known(observed) = view else {
            return false;
        };
        for &port in &planned.held {
            // Whoever cannot be asked for may hold it still.
            if let Ok(holders) = self.executor.engine.publishers(port).await {
                observed.holders.insert(port, holders);
            }
        }
        !observed.holders.is_empty()
    }

    /// Waits until the engine has told of a start of ours, and, when the container has ended soon after its start again and again, of its end:
    /// a look before that would be followed by another one. `before` is what had been heard before the start.
    pub(super) async fn await_news(&self, uid: &str, before: Runs, crashes: bool) {
        let heard = &self.memory.heard;
        let started = heard.until(uid, |runs| runs.starts > before.starts);
        let ended = heard.until(uid, |runs| runs.ends > before.ends);
        let waiting = async {
            // A late event costs a look.
            let _ = timeout(AT_ONCE, started).await;
            if crashes {
                // Whatever lives for longer is looked at while it lives.
                let _ = timeout(SOON, ended).await;
            }
        };
        tokio::select! {
            () = waiting => {}
            _ = self.executor.gate.doubted() => {}
            () = self.executor.stop.cancelled() => {}
        }
    }

    /// What the engine shows of one Instance. While the engine is unknown, that is all there is to see.
    pub(super) async fn observe(&self, instance: &Instance) -> Result<EngineView, Error> {
        let gate = &self.executor.gate;
        let unknown = |state| match state {
            EngineState::Unknown { since, reason } => Some(EngineView::Unknown { since, reason }),
            EngineState::Known(_) => None,
        };
        if let Some(view) = unknown(gate.state()) {
            return Ok(view);
        }
        let scope = scope(instance);
        let beginning = self.memory.heard.begin(&scope.instance_uid, gate.doubts());
        let looked = tokio::select! {
            looked = self.executor.engine.observe(&scope) => looked,
            // A look at an engine that hangs is not waited for: that it hangs is to be told.
            (since, reason) = gate.doubted() => return Ok(EngineView::Unknown { since, reason }),
        };
        match looked {
            // The look may have begun before a doubt came up.
            Ok(mut observed) => {
                self.memory.looked(&scope.instance_uid);
                self.mask_output(&mut observed);
                self.memory.heard.saw(&scope, beginning, &observed);
                Ok(unknown(gate.state()).unwrap_or(EngineView::Known(observed)))
            }
            Err(error) if error.leaves_unknown() => {
                let (since, reason) = ((self.clock)(), error.to_string());
                gate.doubt(since, &reason);
                Ok(unknown(gate.state()).unwrap_or(EngineView::Unknown { since, reason }))
            }
            Err(source) => Err(Error::Observe {
                container: scope.container_name,
                source,
            }),
        }
    }
}

/// What of the engine is about an Instance.
fn scope(instance: &Instance) -> Scope {
    // What a new container would need does not matter to one that goes.
    let wanted = Some(instance).filter(|one| one.metadata.deletion_timestamp.is_none());
    Scope {
        instance_uid: instance.uid().unwrap_or_default(),
        container_name: container_name(instance),
        network_name: network_name(instance),
        volumes: wanted.map(volume_names).unwrap_or_default(),
        image: wanted.map(|instance| instance.spec.container.image.clone()),
    }
}
