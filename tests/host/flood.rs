//! Containers that print as fast as they can: clos does not read along, and whoever does holds nobody up.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use clos_harness::{Server, WEB, docker};

use crate::machine::{load, resident};

const FLOOD: &str = r#"
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: {name: flood, namespace: NAMESPACE}
spec:
  group: shop
  image: IMAGE
  imagePullPolicy: Never
  command: [sh, -c, "exec yes a line of forty characters and no more"]
  stopGracePeriod: 0s
  resources: {limits: {cpu: "0.3", memory: 64Mi}}
"#;

/// A program that is ended with the test.
struct Reader(std::process::Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long it takes until a killed container runs again.
fn repair(server: &Server) -> Duration {
    let before = server.inspect("web-0").unwrap();
    let begun = Instant::now();
    docker(&["kill", &server.container("web-0")]);
    server.until_running_again("web-0", before["State"]["StartedAt"].as_str().unwrap());
    begun.elapsed()
}

#[test]
fn a_flood_of_output_and_a_slow_reader_cost_no_memory_and_no_time_of_others() {
    let server = Server::start_with(&[("web.yaml", WEB)], &[]);
    server.until_ready("web");
    let alone = repair(&server);
    server.write("flood.yaml", FLOOD);
    server.until_ready("flood");
    let logs = ["logs", "-f", "flood", "-n", &server.namespace];
    let mut command = server.clos_command(&logs);
    let mut reader = Reader(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut first = [0; 4096];
    reader
        .0
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut first)
        .unwrap();
    // From here on nobody reads.
    let (server_before, reader_before) = (resident(server.pid()), resident(reader.0.id()));
    let (share, _) = load(server.pid(), Duration::from_secs(5), || 0.0);
    let (server_after, reader_after) = (resident(server.pid()), resident(reader.0.id()));
    assert!(share < 0.1, "{share} of a core");
    assert!(
        server_after - server_before < 5.0,
        "from {server_before} to {server_after} MB"
    );
    assert!(
        reader_after - reader_before < 8.0,
        "from {reader_before} to {reader_after} MB"
    );

    // The machine is busier, and only that may be felt.
    let during = repair(&server);
    assert!(
        during < 3 * alone + Duration::from_secs(2),
        "{during:?}, and {alone:?} without"
    );
}
