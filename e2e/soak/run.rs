//! The course of a run: steps, mending, rest, quiet, checks, and the report. What a step does and what is right is elsewhere.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::generate::{Generator, Timed, closing};
use crate::model::Model;
use crate::observe::panics;
use crate::step::Step;
use crate::world::World;
use crate::{check, cost, journal, pause, say};

/// How long everything may take to be as declared: the longest wait after faults is five minutes.
const REST: Duration = Duration::from_mins(7);

/// How often the quiet may be disturbed by something that had been put off.
const QUIET_WINDOWS: u32 = 4;

/// What is asked of a run.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) longest: Duration,
    pub(crate) steps: u64,
    pub(crate) services: usize,
    pub(crate) quiet: Duration,
    pub(crate) own_engine: bool,
}

/// Steps by kind: those that declare and those that harm.
#[derive(Default)]
struct Tally {
    declared: BTreeMap<String, u32>,
    faults: BTreeMap<String, u32>,
}

/// Prints the steps of a seed.
pub(crate) fn show(plan: &Plan) {
    let mut generator = Generator::new(plan.seed, plan.services, plan.own_engine);
    for number in 1..=plan.steps {
        let Timed { step, pause_ms } = generator.next();
        say(&format!("{number:>5}  {step}, then {pause_ms} ms"));
    }
}

/// Carries a run out; whether all was right.
pub(crate) fn run(plan: &Plan) -> bool {
    let command = format!(
        "clos-soak --seed {} --services {} --engine {}",
        plan.seed,
        plan.services,
        if plan.own_engine { "second" } else { "default" }
    );
    say(&command);
    let mut generator = Generator::new(plan.seed, plan.services, plan.own_engine);
    let own_engine = plan
        .own_engine
        .then(|| format!("soak-{}", std::process::id()));
    let mut world = match catching(|| World::start(own_engine, &generator.model)) {
        Ok(world) => world,
        Err(wrong) => {
            say(&format!("the run cannot begin: {}", wrong.join("; ")));
            return false;
        }
    };
    let mut tally = Tally::default();
    let mut taken = 0;
    let shaken = catching(|| shake(plan, &mut generator, &mut world, &mut tally, &mut taken));
    say(&tally.to_string());
    let wrong = match shaken {
        Ok(()) => {
            catching(|| examine(plan, &generator.model, &mut world)).unwrap_or_else(|wrong| wrong)
        }
        Err(wrong) => wrong,
    };
    if wrong.is_empty() {
        say(&format!(
            "all is as declared after {taken} steps of seed {}",
            plan.seed
        ));
        return true;
    }
    say(&format!(
        "NOT as declared after {taken} steps of seed {}:",
        plan.seed
    ));
    for what in &wrong {
        say(&format!("  {what}"));
    }
    match world.keep(plan.seed) {
        Ok(kept) => say(&format!("data directory, folder and log: {kept}")),
        Err(error) => say(&format!("{error:#}")),
    }
    say(&format!("again: {command} --steps {taken}"));
    false
}

/// Whatever goes wrong, in words.
fn catching<T>(act: impl FnOnce() -> anyhow::Result<T>) -> Result<T, Vec<String>> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(vec![format!("{error:#}")]),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned().or_else(|| {
                panic
                    .downcast_ref::<&str>()
                    .map(|words| (*words).to_owned())
            });
            Err(vec![
                words.unwrap_or_else(|| "a panic without words".to_owned()),
            ])
        }
    }
}

fn shake(
    plan: &Plan,
    generator: &mut Generator,
    world: &mut World,
    tally: &mut Tally,
    taken: &mut u64,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < plan.longest && *taken < plan.steps {
        let Timed { step, pause_ms } = generator.next();
        *taken += 1;
        take(*taken, began, &step, &generator.model, world)?;
        tally.count(&step);
        pause(Duration::from_millis(pause_ms));
    }
    for step in closing(&mut generator.model) {
        *taken += 1;
        take(*taken, began, &step, &generator.model, world)?;
        tally.count(&step);
    }
    Ok(())
}

/// Carries one step out; the model is what is declared after it.
fn take(
    number: u64,
    began: Instant,
    step: &Step,
    model: &Model,
    world: &mut World,
) -> anyhow::Result<()> {
    say(&format!(
        "{number:>5} {:>8.2} s  {step}",
        began.elapsed().as_secs_f64()
    ));
    anyhow::ensure!(
        world.server.runs(),
        "clos serve ended by itself before step {number}"
    );
    match step {
        Step::Add { slot, .. } => world.add(model, *slot),
        Step::Change { slot, change } => world.change(model, *slot, *change),
        Step::Remove { slot } => world.remove(*slot),
        Step::Flip { slot } => world.flip(model, *slot),
        Step::Restart { slot } => world.restart(*slot),
        Step::MovePort { from, to } => world.move_port(model, *from, *to),
        Step::Group { group, .. } => {
            world.group(model, *group);
            Ok(())
        }
        Step::Values { which, .. } => world.values(model, *which),
        Step::Invalid { slot } => world.invalid(model, *slot),
        Step::HalfWritten { slot } => world.half_written(model, *slot),
        Step::DeleteObject { slot } => world.delete_object(model, *slot),
        Step::DeleteInstance { slot, ordinal } => {
            world.delete_instance(*slot, *ordinal);
            Ok(())
        }
        Step::Guests { there } => world.guests(*there),
        Step::Harm {
            slot,
            ordinal,
            harm,
        } => {
            world.harm(number, *slot, *ordinal, *harm);
            Ok(())
        }
        Step::RemoveAll { slot } => {
            world.remove_all(*slot);
            Ok(())
        }
        Step::RemoveEverything => {
            world.remove_everything();
            Ok(())
        }
        Step::Away { slot } => world.away(number, model, *slot),
        Step::RemoveNetwork { group } => {
            world.remove_network(*group);
            Ok(())
        }
        Step::Decoy { number, decoy } => world.decoy(*number, *decoy),
        Step::Server { blow } => world.server_blow(number, *blow),
        Step::Reads { count } => world.reads(*count),
        Step::Engine { blow } => world.engine_blow(*blow),
    }
}

/// Waits until everything is as declared and quiet, and gives what is wrong.
fn examine(plan: &Plan, model: &Model, world: &mut World) -> anyhow::Result<Vec<String>> {
    let samples = world.sampler.samples();
    let began = Instant::now();
    let mut told = 0;
    let mut wrong = loop {
        let seen = world.seen()?;
        let wrong = check::differences(model, &world.names, &world.restarts, &seen);
        if wrong.is_empty() || began.elapsed() > REST {
            break wrong;
        }
        let minutes = began.elapsed().as_secs() / 60;
        if minutes > told {
            told = minutes;
            say(&format!(
                "after {minutes} min not yet: {}",
                wrong.join("; ")
            ));
        }
        pause(Duration::from_secs(1));
    };
    say(&format!(
        "everything as declared: {} after {:.1} s",
        if wrong.is_empty() { "yes" } else { "no" },
        began.elapsed().as_secs_f64()
    ));
    if wrong.is_empty() {
        wrong.extend(quiet(plan, world)?);
        let seen = world.seen()?;
        wrong.extend(check::differences(
            model,
            &world.names,
            &world.restarts,
            &seen,
        ));
    }
    let touched = world.touched();
    say(&format!(
        "made by hand: {} things, volumes: {}, changed by clos: {}",
        world.decoys.len(),
        world.volumes.len(),
        touched.len()
    ));
    wrong.extend(touched);
    let entries = world.journal()?;
    let mistakes = journal::mistakes(
        &entries,
        &world.acknowledged,
        &world.by_kubectl,
        &world.tokens,
    );
    let unacknowledged = world.tokens.iter().filter(|token| !token.acknowledged);
    say(&format!(
        "audit: {} records, {} repairs; {} writes by API and {} by kubectl; {} writes among kills, {} of them without an answer, {} of these done; {} mistakes",
        entries.len(),
        journal::repairs(&entries),
        world.acknowledged.len(),
        world.by_kubectl.len(),
        world.tokens.len(),
        unacknowledged.clone().count(),
        unacknowledged.filter(|token| token.exists).count(),
        mistakes.len()
    ));
    wrong.extend(mistakes);
    match cost::quarters(&samples) {
        None => say(&format!(
            "cost: {} samples are too few to compare",
            samples.len()
        )),
        Some((early, late)) => {
            say(&format!(
                "cost of clos, second and last quarter: memory {} and {} KiB, files {} and {}, threads {} and {}",
                early.memory, late.memory, early.files, late.files, early.threads, late.threads
            ));
            wrong.extend(cost::growth((early, late)));
        }
    }
    wrong.extend(panics(&world.server.log()));
    say(&format!("faults that met nothing: {}", world.missed));
    Ok(wrong)
}

/// Waits for a while in which nothing is written and nothing changed.
fn quiet(plan: &Plan, world: &World) -> anyhow::Result<Vec<String>> {
    let mut words = String::new();
    for window in 1..=QUIET_WINDOWS {
        let before = world.counts()?;
        pause(plan.quiet);
        let after = world.counts()?;
        words = format!(
            "{:.0} store writes and {:.0} changing engine calls in {} s of quiet, window {window}",
            after.writes - before.writes,
            after.changes - before.changes,
            plan.quiet.as_secs()
        );
        say(&words);
        if after == before {
            return Ok(Vec::new());
        }
    }
    Ok(vec![words])
}

impl Tally {
    fn count(&mut self, step: &Step) {
        let of = if step.is_fault() {
            &mut self.faults
        } else {
            &mut self.declared
        };
        *of.entry(step.kind()).or_default() += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |of: &BTreeMap<String, u32>| {
            let words: Vec<String> = of
                .iter()
                .map(|(kind, count)| format!("{kind} {count}"))
                .collect();
            format!("{} ({})", of.values().sum::<u32>(), words.join(", "))
        };
        write!(
            f,
            "declarations: {}\nfaults: {}",
            list(&self.declared),
            list(&self.faults)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Blow;

    #[test]
    fn what_goes_wrong_is_told_whether_it_is_an_error_or_a_panic() {
        assert_eq!(catching(|| anyhow::Ok(1)), Ok(1));
        assert_eq!(
            catching::<()>(|| anyhow::bail!("no")),
            Err(vec!["no".to_owned()])
        );
        assert_eq!(
            catching::<()>(|| panic!("number {}", 3)),
            Err(vec!["number 3".to_owned()])
        );
    }

    #[test]
    fn steps_are_counted_by_kind() {
        let mut tally = Tally::default();
        tally.count(&Step::Remove { slot: 1 });
        tally.count(&Step::Remove { slot: 2 });
        tally.count(&Step::Server { blow: Blow::Kill });
        assert_eq!(
            tally.to_string(),
            "declarations: 2 (remove 2)\nfaults: 1 (clos kill 1)"
        );
    }
}
