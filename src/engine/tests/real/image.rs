//! The image of the tests, made without a registry: the host's static busybox and links to it. What runs in it is the tests' business.

use std::fs;

use bollard::Docker;
use bollard::body_full;
use bollard::query_parameters::CreateImageOptions;
use futures::TryStreamExt;
use tokio::sync::OnceCell;

/// The image of most tests.
pub(crate) const BUSYBOX: &str = "clos-test/busybox:1";
/// The same, with a health check that says what a file says.
pub(crate) const CHECKED: &str = "clos-test/checked:1";

const APPLETS: [&str; 11] = [
    "sh", "sleep", "echo", "cat", "touch", "tail", "test", "rm", "nslookup", "httpd", "printf",
];
const BLOCK: usize = 512;

/// Makes both images, once for all tests of the run.
pub(crate) async fn provide(docker: &Docker) {
    static MADE: OnceCell<()> = OnceCell::const_new();
    MADE.get_or_init(|| async {
        let command = r#"CMD ["sleep", "1000000"]"#.to_owned();
        let check =
            "HEALTHCHECK --interval=200ms --timeout=10s --retries=1 CMD test ! -e /sick".to_owned();
        import(docker, BUSYBOX, vec![command.clone()]).await;
        import(docker, CHECKED, vec![command, check]).await;
    })
    .await;
}

async fn import(docker: &Docker, name: &str, changes: Vec<String>) {
    let (repo, tag) = name.split_once(':').unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(repo.to_owned()),
        tag: Some(tag.to_owned()),
        changes,
        ..CreateImageOptions::default()
    };
    let imported = docker.create_image(Some(options), Some(body_full(archive().into())), None);
    imported
        .try_collect::<Vec<_>>()
        .await
        .expect("the engine imports a tar with busybox");
}

/// A tar with `/bin/busybox` and its applets.
fn archive() -> Vec<u8> {
    let busybox = fs::read("/bin/busybox")
        .expect("the tests need /bin/busybox: apt-get install busybox-static");
    let mut tar = Vec::new();
    entry(&mut tar, "bin/", b'5', "", &[]);
    entry(&mut tar, "tmp/", b'5', "", &[]);
    entry(&mut tar, "bin/busybox", b'0', "", &busybox);
    for applet in APPLETS {
        entry(&mut tar, &format!("bin/{applet}"), b'2', "busybox", &[]);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// One entry in the format that every tar reads: a header of 512 bytes, then the content, padded.
fn entry(tar: &mut Vec<u8>, name: &str, kind: u8, link: &str, content: &[u8]) {
    let mut header = [0_u8; BLOCK];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    // The checksum counts its own field as blanks.
    put(148, "        ");
    put(157, link);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}
