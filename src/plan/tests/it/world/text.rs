//! Passes over a world as text, for the golden tests.

use std::fmt::Write;

use clos_plan::status::Outcome;
use clos_resources::{Instance, conditions};

use super::World;

impl World {
    /// One pass of the agent as text: the plan, what was found, and how it stands afterwards.
    pub(crate) fn tell(&mut self, name: &str) -> String {
        let pass = self.pass_instance(name);
        let mut text = if pass.planned.plan.is_empty() {
            "  nothing to do\n".to_owned()
        } else {
            pass.planned.plan.to_string()
        };
        for drift in &pass.planned.drift {
            writeln!(text, "  found {}: {}", drift.kind.as_str(), drift.words).unwrap();
        }
        match pass.outcome {
            Outcome::AllDone => {}
            Outcome::Failed { step, failure } => {
                writeln!(text, "  step {} failed: {}", step + 1, failure.message).unwrap();
            }
        }
        if let Some(wake_at) = pass.planned.wake_at {
            writeln!(text, "  looks again at {}", wake_at.strftime("%H:%M:%SZ")).unwrap();
        }
        match self.instances.get(name) {
            None => text.push_str("  is gone\n"),
            Some(instance) => writeln!(text, "  {}", words(instance)).unwrap(),
        }
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        lines.join("\n") + "\n"
    }

    /// One pass of the service controller as text.
    pub(crate) fn tell_service(&mut self, name: &str) -> String {
        let planned = self.pass_service(name);
        let plan = if planned.plan.is_empty() {
            "  nothing to do\n".to_owned()
        } else {
            planned.plan.to_string()
        };
        let ready = conditions::ready(&planned.status.conditions).unwrap();
        let state = planned.status.state.unwrap();
        let status = format!(
            "  {} {state:?}: {} {}, {}\n",
            name,
            planned.status.ready.as_deref().unwrap(),
            ready.reason,
            ready.message
        );
        let lines: Vec<String> = format!("{plan}{status}")
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        lines.join("\n") + "\n"
    }
}

/// How an Instance says it is.
pub(crate) fn words(instance: &Instance) -> String {
    let name = instance.metadata.name.as_deref().unwrap();
    let Some(status) = &instance.status else {
        return format!("{name} has no status");
    };
    let ready = conditions::ready(&status.conditions).unwrap();
    let faults = status
        .backoff
        .as_ref()
        .map(|backoff| format!(", faults {}", backoff.faults))
        .unwrap_or_default();
    format!(
        "{name} {:?}, restarts {}{faults}, Ready {}: {}, {}",
        status.state.unwrap(),
        status.restarts,
        ready.status,
        ready.reason,
        ready.message
    )
}
