//! One rule: its compilation and its evaluation on one value.

use kube_cel::KubeCelExt as _;
use kube_cel::cel::common::ast::{EntryExpr, Expr};
use kube_cel::cel::{Context, Program, Value as CelValue};
use serde::Deserialize;
use serde_json::Value;

use super::RuleError;
use super::value::{root_to_cel, to_cel};
use crate::schema::Node;
use crate::status::{Cause, CauseReason, FieldPath};

thread_local! {
    /// The functions rules may call. Building it costs more than most rules, and it cannot be shared between threads.
    static LIBRARY: Context<'static> = Context::default().with_all();
}

/// Names that stand for types in CEL.
const TYPES: [&str; 11] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "dyn",
];
/// Names before the dot of library functions.
const LIBRARIES: [&str; 7] = [
    "math",
    "sets",
    "base64",
    "format",
    "jsonpatch",
    "ip",
    "cidr",
];

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    program: Program,
    message: String,
    message_program: Option<Program>,
    reason: CauseReason,
    /// Where below the value the mistake is shown, as `.port` or `[key]`; empty for the value itself.
    below: String,
    about_transition: bool,
    expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Source {
    rule: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    message_expression: String,
    reason: Option<String>,
    #[serde(default)]
    field_path: String,
    #[serde(default)]
    optional_old_self: bool,
}

impl Rule {
    /// The rules at one schema node. `correlatable` says whether values here have an old value on update.
    pub(super) fn compile_all(
        schema: &Value,
        path: &str,
        correlatable: bool,
    ) -> Result<Vec<Self>, RuleError> {
        let Some(sources) = schema.get("x-kubernetes-validations") else {
            return Ok(Vec::new());
        };
        let sources =
            Vec::<Source>::deserialize(sources).map_err(|source| RuleError::Malformed {
                path: path.to_owned(),
                source,
            })?;
        sources
            .into_iter()
            .map(|source| Self::compile(source, schema, path, correlatable))
            .collect()
    }

    fn compile(
        source: Source,
        schema: &Value,
        path: &str,
        correlatable: bool,
    ) -> Result<Self, RuleError> {
        let meaning = |why: String| RuleError::Meaning {
            path: path.to_owned(),
            expression: source.rule.clone(),
            why,
        };
        let program = program(&source.rule, path)?;
        if let Some(name) =
            unknown_variable(&program.expression().expr, &mut vec!["self", "oldSelf"])
        {
            return Err(meaning(format!(
                "it refers to {name}, which does not exist here"
            )));
        }
        let about_transition = program.references().has_variable("oldSelf");
        if about_transition && !correlatable {
            return Err(meaning(
                "oldSelf is unknown below a list that is not a map".to_owned(),
            ));
        }
        if source.optional_old_self {
            return Err(meaning("optionalOldSelf is not supported".to_owned()));
        }
        let reason = match &source.reason {
            None => CauseReason::FieldValueInvalid,
            Some(reason) => CauseReason::of_rule(reason)
                .ok_or_else(|| meaning(format!("{reason} is no reason a rule may give")))?,
        };
        let below = place_below(&source.field_path, schema)
            .ok_or_else(|| meaning(format!("fieldPath {} leads to no field", source.field_path)))?;
        let message_program = if source.message_expression.is_empty() {
            None
        } else {
            Some(self::program(&source.message_expression, path)?)
        };
        let message = if source.message.is_empty() {
            format!("failed rule: {}", source.rule.trim())
        } else {
            source.message.trim().to_owned()
        };
        Ok(Self {
            program,
            message,
            message_program,
            reason,
            below,
            about_transition,
            expression: source.rule,
        })
    }

    fn evaluate(
        &self,
        context: &Context<'_>,
        value: &Value,
        path: &FieldPath<'_>,
    ) -> Option<Cause> {
        let shown = Some(value).filter(|value| !value.is_object() && !value.is_array());
        match self.program.execute(context) {
            Ok(CelValue::Bool(true)) => None,
            Ok(CelValue::Bool(false)) => {
                let field = match path {
                    FieldPath::Root if self.below.is_empty() => path.to_string(),
                    FieldPath::Root => self.below.trim_start_matches('.').to_owned(),
                    FieldPath::Child(..) | FieldPath::Index(..) | FieldPath::Key(..) => {
                        format!("{path}{}", self.below)
                    }
                };
                Some(Cause::rule(
                    self.reason,
                    field,
                    shown,
                    &self.detail(context),
                ))
            }
            Ok(_) => {
                let detail = format!("the rule does not give true or false: {}", self.expression);
                Some(Cause::rule(
                    CauseReason::FieldValueInvalid,
                    path,
                    shown,
                    &detail,
                ))
            }
            Err(error) => {
                let detail = format!("{error} evaluating rule: {}", self.expression);
                Some(Cause::rule(
                    CauseReason::FieldValueInvalid,
                    path,
                    shown,
                    &detail,
                ))
            }
        }
    }

    /// The computed message, or the fixed one when the computed one is no single line of text.
    fn detail(&self, context: &Context<'_>) -> String {
        let computed = self
            .message_program
            .as_ref()
            .map(|program| program.execute(context));
        match computed {
            Some(Ok(CelValue::String(text))) if !text.trim().is_empty() && !text.contains('\n') => {
                text.trim().to_owned()
            }
            _ => self.message.clone(),
        }
    }
}

/// Evaluates the rules of one node on one value, which is not null.
pub(super) fn evaluate(
    rules: &[Rule],
    node: Option<&Node>,
    value: &Value,
    old: Option<&Value>,
    path: &FieldPath<'_>,
    causes: &mut Vec<Cause>,
) {
    let convert = |value: &Value| match path {
        FieldPath::Root => root_to_cel(value, node),
        FieldPath::Child(..) | FieldPath::Index(..) | FieldPath::Key(..) => to_cel(value, node),
    };
    LIBRARY.with(|library| {
        let mut context = library.new_inner_scope();
        context.add_variable_from_value("self", convert(value));
        if let Some(old) = old.filter(|_| rules.iter().any(|rule| rule.about_transition)) {
            context.add_variable_from_value("oldSelf", convert(old));
        }
        let due = rules
            .iter()
            .filter(|rule| old.is_some() || !rule.about_transition);
        causes.extend(due.filter_map(|rule| rule.evaluate(&context, value, path)));
    });
}

fn program(expression: &str, path: &str) -> Result<Program, RuleError> {
    Program::compile(expression).map_err(|source| RuleError::Compile {
        path: path.to_owned(),
        expression: expression.to_owned(),
        source: Box::new(source),
    })
}

/// A name that is neither `self` nor `oldSelf` nor bound by a macro around it.
fn unknown_variable<'e>(expression: &'e Expr, bound: &mut Vec<&'e str>) -> Option<&'e str> {
    match expression {
        Expr::Unspecified | Expr::Literal(_) => None,
        Expr::Ident(name) => {
            let known = name.starts_with('@')
                || bound.contains(&name.as_str())
                || TYPES.contains(&name.as_str());
            (!known).then_some(name.as_str())
        }
        Expr::Call(call) => {
            // `math.greatest(a, b)` parses as a call on something named math.
            let target = call.target.as_ref().map(|target| &target.expr);
            let target = target.filter(
                |target| !matches!(target, Expr::Ident(name) if LIBRARIES.contains(&name.as_str())),
            );
            let mut parts = target
                .into_iter()
                .chain(call.args.iter().map(|argument| &argument.expr));
            parts.find_map(|part| unknown_variable(part, bound))
        }
        Expr::Comprehension(macro_) => {
            let outside = [&macro_.iter_range.expr, &macro_.accu_init.expr].into_iter();
            let unknown = outside
                .into_iter()
                .find_map(|part| unknown_variable(part, bound));
            if unknown.is_some() {
                return unknown;
            }
            let depth = bound.len();
            bound.extend([macro_.iter_var.as_str(), macro_.accu_var.as_str()]);
            bound.extend(macro_.iter_var2.as_deref());
            let inside = [
                &macro_.loop_cond.expr,
                &macro_.loop_step.expr,
                &macro_.result.expr,
            ]
            .into_iter();
            let unknown = inside
                .into_iter()
                .find_map(|part| unknown_variable(part, bound));
            bound.truncate(depth);
            unknown
        }
        Expr::List(list) => list
            .elements
            .iter()
            .find_map(|element| unknown_variable(&element.expr, bound)),
        Expr::Select(select) => unknown_variable(&select.operand.expr, bound),
        Expr::Map(map) => map
            .entries
            .iter()
            .find_map(|entry| entry_variable(&entry.expr, bound)),
        Expr::Struct(made) => made
            .entries
            .iter()
            .find_map(|entry| entry_variable(&entry.expr, bound)),
    }
}

fn entry_variable<'e>(entry: &'e EntryExpr, bound: &mut Vec<&'e str>) -> Option<&'e str> {
    match entry {
        EntryExpr::StructField(field) => unknown_variable(&field.value.expr, bound),
        EntryExpr::MapEntry(entry) => {
            let mut parts = [&entry.key.expr, &entry.value.expr].into_iter();
            parts.find_map(|part| unknown_variable(part, bound))
        }
    }
}

/// Translates a rule's `fieldPath` (`.a.b`, `['key']`) to the way paths are printed; `None` when the schema has no such
/// field.
fn place_below(field_path: &str, schema: &Value) -> Option<String> {
    let mut rest = field_path;
    let mut node = schema;
    let mut printed = String::new();
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix("['") {
            quoted.split_once("']")?
        } else {
            let plain = rest.strip_prefix('.')?;
            plain.split_at(plain.find(['.', '[']).unwrap_or(plain.len()))
        };
        if let Some(field) = node.get("properties").and_then(|fields| fields.get(name)) {
            printed.push('.');
            printed.push_str(name);
            node = field;
        } else {
            node = node
                .get("additionalProperties")
                .filter(|schema| schema.is_object())?;
            printed.extend(["[", name, "]"]);
        }
        rest = after;
    }
    Some(printed)
}
