//! `clos version`: of this program, of the server and of the engine, as far as they can be reached.

use clos_engine::Engine;

use crate::Ending;
use crate::args::Connection;
use crate::output;

pub(crate) async fn run(connection: &Connection) -> anyhow::Result<Ending> {
    output::line(&format!("clos    {}", env!("CARGO_PKG_VERSION")))?;
    let server = match connection.client().await {
        Ok(client) => format!(
            "Kubernetes API {}",
            client.apiserver_version().await?.git_version
        ),
        Err(error) => format!("{error:#}"),
    };
    output::line(&format!("server  {server}"))?;
    let engine = match connection.engine() {
        Ok(engine) => engine.info().await.map(|info| info.engine).map_or_else(
            |error| error.to_string(),
            |engine| {
                format!(
                    "{} {} (API {})",
                    engine.name, engine.version, engine.api_version
                )
            },
        ),
        Err(error) => error.to_string(),
    };
    output::line(&format!("engine  {engine}"))?;
    Ok(Ending::Done)
}
