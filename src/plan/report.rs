//! Plans for people: what `clos plan` prints. Making plans is not here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clos_resources::conditions::Summary;

use crate::action::{Action, ApiAction, EngineAction, Plan};

/// The plan for one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The namespace.
    pub namespace: String,
    /// The Group's name.
    pub group: String,
    /// The Service's name.
    pub service: String,
    /// The Instance's name, when the plan is for an Instance.
    pub instance: Option<String>,
    /// The plan.
    pub plan: Plan,
    /// What keeps the object from going on, when something does.
    pub waits_for: Option<Summary>,
}

/// The plans of several objects as one text: steps grouped by Group and Service and numbered through, what several of them need named
/// once, and a line that sums up.
pub struct Report {
    sections: Vec<Section>,
    /// How often each verb occurs.
    verbs: BTreeMap<Verb, usize>,
    services: usize,
    instances: usize,
    waiting: usize,
}

struct Section {
    heading: String,
    lines: Vec<Line>,
    notes: Vec<String>,
}

struct Line {
    number: usize,
    call: String,
    order: String,
    cause: String,
}

/// What a step does, in the order of the sum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Create,
    Pull,
    Claim,
    Start,
    Update,
    Unpause,
    Stop,
    Remove,
    Release,
    Delete,
}

impl Verb {
    fn of(action: &Action) -> Self {
        match action {
            Action::Engine(action) => match action {
                EngineAction::PullImage { .. } => Self::Pull,
                EngineAction::CreateNetwork(_)
                | EngineAction::CreateVolume(_)
                | EngineAction::CreateContainer(_) => Self::Create,
                EngineAction::StartContainer { .. } => Self::Start,
                EngineAction::StopContainer { .. } => Self::Stop,
                EngineAction::UnpauseContainer { .. } => Self::Unpause,
                EngineAction::RemoveNetwork { .. } | EngineAction::RemoveContainer { .. } => {
                    Self::Remove
                }
            },
            Action::Api(action) => match action {
                ApiAction::CreateInstance(_) => Self::Create,
                ApiAction::UpdateInstance(_) => Self::Update,
                ApiAction::DeleteInstance { .. } => Self::Delete,
                ApiAction::ClaimPort(_) => Self::Claim,
                ApiAction::ReleasePort { .. } => Self::Release,
            },
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Pull => "pull",
            Self::Claim => "claim",
            Self::Start => "start",
            Self::Update => "update",
            Self::Unpause => "unpause",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Release => "release",
            Self::Delete => "delete",
        }
    }
}

impl Report {
    /// A report of these plans. Groups and services come in the order in which they occur first.
    pub fn new(parts: &[Part]) -> Self {
        let mut report = Self {
            sections: Vec::new(),
            verbs: BTreeMap::new(),
            services: distinct(parts, |part| part.service.as_str()),
            instances: instances(parts),
            waiting: parts.iter().filter(|part| part.waits_for.is_some()).count(),
        };
        let several = parts.iter().any(|part| part.namespace != "default");
        let mut numbers = Numbers::default();
        for of_group in grouped(parts.iter(), |part| (&part.namespace, &part.group)) {
            report.group_section(&of_group, several, &mut numbers);
            for of_service in grouped(of_group.into_iter(), |part| {
                (&part.namespace, &part.service)
            }) {
                report.service_section(&of_service, several, &mut numbers);
            }
        }
        report
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.verbs.is_empty()
    }

    /// Networks stand under the group they are for, whichever instance needs them first.
    fn group_section(&mut self, parts: &[&Part], several: bool, numbers: &mut Numbers) {
        let Some(first) = parts.first() else { return };
        let mut section = Section {
            heading: heading("Group", &first.group, &first.namespace, several),
            lines: Vec::new(),
            notes: Vec::new(),
        };
        for part in parts {
            for step in &part.plan.steps {
                if matches!(
                    step.action,
                    Action::Engine(
                        EngineAction::CreateNetwork(_) | EngineAction::RemoveNetwork { .. }
                    )
                ) {
                    self.line(
                        &mut section,
                        &step.action,
                        &[],
                        step.cause.to_string(),
                        numbers,
                    );
                }
            }
        }
        self.push(section);
    }

    fn service_section(&mut self, parts: &[&Part], several: bool, numbers: &mut Numbers) {
        let Some(first) = parts.first() else { return };
        let name = format!("{}/{}", first.group, first.service);
        let mut section = Section {
            heading: heading("Service", &name, &first.namespace, several),
            lines: Vec::new(),
            notes: Vec::new(),
        };
        for part in parts {
            let mut of_steps: Vec<usize> = Vec::new();
            for step in &part.plan.steps {
                let after: Vec<usize> = step
                    .after
                    .iter()
                    .filter_map(|&index| of_steps.get(index).copied())
                    .collect();
                of_steps.push(self.line(
                    &mut section,
                    &step.action,
                    &after,
                    step.cause.to_string(),
                    numbers,
                ));
            }
            if let Some(summary) = &part.waits_for {
                let who = part.instance.as_ref().unwrap_or(&part.service);
                section.notes.push(format!(
                    "{who} waits, {}: {}",
                    summary.reason.as_str(),
                    summary.message
                ));
            }
        }
        self.push(section);
    }

    /// Adds a line, unless the same call is there already for another object, and gives its number.
    fn line(
        &mut self,
        section: &mut Section,
        action: &Action,
        after: &[usize],
        cause: String,
        numbers: &mut Numbers,
    ) -> usize {
        let call = action.to_string();
        if let Some(&number) = numbers.shared.get(&call) {
            return number;
        }
        numbers.last += 1;
        if is_shared(action) {
            numbers.shared.insert(call.clone(), numbers.last);
        }
        *self.verbs.entry(Verb::of(action)).or_default() += 1;
        let after: BTreeSet<usize> = after.iter().copied().collect();
        let after: Vec<String> = after.iter().map(usize::to_string).collect();
        let order = if after.is_empty() {
            String::new()
        } else {
            format!("after {}", after.join(" "))
        };
        section.lines.push(Line {
            number: numbers.last,
            call,
            order,
            cause,
        });
        numbers.last
    }

    fn push(&mut self, section: Section) {
        if !section.lines.is_empty() || !section.notes.is_empty() {
            self.sections.push(section);
        }
    }

    fn sum(&self) -> String {
        let waiting = match self.waiting {
            0 => String::new(),
            number => format!(
                " {} {}.",
                plural(number, "object"),
                if number == 1 { "waits" } else { "wait" }
            ),
        };
        if self.is_empty() && self.waiting == 0 {
            return "Plan: everything is as declared.".to_owned();
        }
        if self.is_empty() {
            return format!("Plan: nothing can be done now.{waiting} Nothing was changed.");
        }
        let verbs: Vec<String> = self
            .verbs
            .iter()
            .map(|(verb, number)| format!("{number} {}", verb.word()))
            .collect();
        format!(
            "Plan: {}, {}; {}: {}.{waiting} Nothing was changed.",
            plural(self.services, "service"),
            plural(self.instances, "instance"),
            plural(self.verbs.values().sum(), "action"),
            verbs.join(", ")
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = || self.sections.iter().flat_map(|section| &section.lines);
        let call_width = lines()
            .map(|line| line.call.chars().count())
            .max()
            .unwrap_or(0);
        let order_width = lines()
            .map(|line| line.order.chars().count())
            .max()
            .unwrap_or(0);
        for section in &self.sections {
            writeln!(f, "{}", section.heading)?;
            for Line {
                number,
                call,
                order,
                cause,
            } in &section.lines
            {
                let line = format!("{number:3}  {call:call_width$}  {order:order_width$}  {cause}");
                writeln!(f, "{}", line.trim_end())?;
            }
            for note in &section.notes {
                writeln!(f, "     {note}")?;
            }
        }
        writeln!(f, "{}", self.sum())
    }
}

/// The number of the last line, and of those that stand for several objects.
#[derive(Default)]
struct Numbers {
    last: usize,
    shared: BTreeMap<String, usize>,
}

/// Calls that are made once however many objects need them.
fn is_shared(action: &Action) -> bool {
    matches!(
        action,
        Action::Engine(
            EngineAction::PullImage { .. }
                | EngineAction::CreateNetwork(_)
                | EngineAction::RemoveNetwork { .. }
                | EngineAction::CreateVolume(_)
        )
    )
}

/// Parts with the same key together, in the order in which the keys occur first.
fn grouped<'a>(
    parts: impl Iterator<Item = &'a Part>,
    key: impl Fn(&'a Part) -> (&'a String, &'a String),
) -> Vec<Vec<&'a Part>> {
    let mut index: BTreeMap<(&String, &String), usize> = BTreeMap::new();
    let mut groups: Vec<Vec<&Part>> = Vec::new();
    for part in parts {
        let next = groups.len();
        let at = *index.entry(key(part)).or_insert(next);
        if at == next {
            groups.push(Vec::new());
        }
        groups[at].push(part);
    }
    groups
}

fn heading(kind: &str, name: &str, namespace: &str, several: bool) -> String {
    if several {
        format!("{kind} {name} in namespace {namespace}")
    } else {
        format!("{kind} {name}")
    }
}

fn distinct<'a>(parts: &'a [Part], name: impl Fn(&'a Part) -> &'a str) -> usize {
    let busy = parts.iter().filter(|part| !part.plan.is_empty());
    busy.map(|part| (part.namespace.as_str(), name(part)))
        .collect::<BTreeSet<_>>()
        .len()
}

/// Instances that something is done for: by their own plan, or by their service's.
fn instances(parts: &[Part]) -> usize {
    let mut found: BTreeSet<(String, String)> = BTreeSet::new();
    for part in parts.iter().filter(|part| !part.plan.is_empty()) {
        found.extend(
            part.instance
                .iter()
                .map(|instance| (part.namespace.clone(), instance.clone())),
        );
        for step in &part.plan.steps {
            let name = match &step.action {
                Action::Api(
                    ApiAction::CreateInstance(instance) | ApiAction::UpdateInstance(instance),
                ) => instance.metadata.name.as_ref(),
                Action::Api(ApiAction::DeleteInstance { name, .. }) => Some(name),
                Action::Api(ApiAction::ClaimPort(_) | ApiAction::ReleasePort { .. })
                | Action::Engine(_) => None,
            };
            found.extend(name.map(|name| (part.namespace.clone(), name.clone())));
        }
    }
    found.len()
}

fn plural(number: usize, word: &str) -> String {
    if number == 1 {
        format!("1 {word}")
    } else {
        format!("{number} {word}s")
    }
}
