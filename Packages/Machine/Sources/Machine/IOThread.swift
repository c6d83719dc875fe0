internal import LinuxSys

/// An event loop on a thread of its own (`-object iothread`), to which devices give their queues so that one cannot hold up another or QMP.
///
/// Created, and in the end stopped, on the main loop's thread.
final class IOThread: Sendable {
    let id: String
    let loop: EventLoop
    private let thread: OSThread

    /// The thread runs when this returns.
    init(id: String) throws(Errno) {
        let loop = try EventLoop()
        self.id = id
        self.loop = loop
        thread = try OSThread.start(name: "IO \(id)") { loop.run() }
    }

    /// The kernel's id of the thread; 0 until it has begun to run.
    var threadID: Int32 { thread.id }

    /// Ends the thread. Devices have left the loop before.
    func stop() {
        loop.stop()
        thread.join()
    }

    deinit { stop() }
}
