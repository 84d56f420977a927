//! The README against the code: its commands can be typed, its settings are those that there are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{CommandFactory, Parser};
use clos_app::Config;
use clos_app::config::{Layer, Setting, Surroundings};

use crate::args::Cli;

const README: &str = include_str!("../../README.md");

/// The commands in code blocks and between backquotes that begin with `clos `.
fn commands() -> Vec<&'static str> {
    let mut in_block = false;
    let mut commands = Vec::new();
    for line in README.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let words = line.split('#').next().unwrap_or_default();
            commands.extend(words.split(';'));
        } else {
            commands.extend(line.split('`').skip(1).step_by(2));
        }
    }
    let trimmed = commands.into_iter().map(str::trim);
    trimmed
        .filter(|command| command.starts_with("clos "))
        .collect()
}

/// The cells of the table of settings, a row each.
fn settings() -> Vec<Vec<&'static str>> {
    let rows = README
        .lines()
        .skip_while(|line| !line.starts_with("| flag and word"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_command_of_the_readme_can_be_typed() {
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let words = command.split_whitespace();
        // `clos serve` alone is a command, `clos apply` alone is the name of one.
        let known = Cli::command()
            .get_subcommands()
            .any(|known| command == format!("clos {}", known.get_name()));
        if !known {
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{command}: {error}"));
        }
    }
}

#[test]
fn the_readme_s_settings_are_all_there_are_with_their_flags_variables_and_defaults() {
    let surroundings = Surroundings {
        root: true,
        home: Some(PathBuf::from("~")),
        ..Surroundings::default()
    };
    let defaults = Config::resolve(&surroundings, &[]).unwrap();
    let mut told = BTreeSet::new();
    for row in settings() {
        let [flag, variables, default] = row.as_slice() else {
            panic!("{row:?}")
        };
        let setting = Setting::ALL
            .into_iter()
            .find(|setting| quoted(flag) == [format!("--{}", setting.word())])
            .unwrap_or_else(|| panic!("{flag} is no setting"));
        assert_eq!(quoted(variables), setting.variables(), "{flag}");
        told.insert(setting);
        let default = default.split([' ', ';']).next().unwrap().trim_matches('`');
        if default == "none" {
            assert!(setting == Setting::Dir && defaults.dirs.is_empty());
            continue;
        }
        let given = Layer::flags([(setting, Some(default.to_owned()))]);
        let config = Config::resolve(&surroundings, &[given]).unwrap();
        assert_eq!(config, defaults, "{flag} is not {default} by default");
    }
    assert_eq!(told, BTreeSet::from(Setting::ALL));
}

#[test]
fn every_setting_is_a_flag_of_clos_serve_and_every_flag_a_setting() {
    let mut command = Cli::command();
    command.build();
    let serve = command.find_subcommand("serve").unwrap();
    let flags: BTreeSet<&str> = serve
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|flag| !["config", "help", "version"].contains(flag))
        .collect();
    assert_eq!(flags, Setting::ALL.into_iter().map(Setting::word).collect());
}

#[test]
fn the_readme_tells_every_exit_code() {
    let codes = README.split("## Exit codes").nth(1).unwrap();
    for code in [
        "0 as asked",
        "1 an error",
        "2 there",
        "124 the",
        "130 Ctrl-C",
    ] {
        assert!(codes.contains(code), "{code}");
    }
}
