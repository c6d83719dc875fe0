internal import LinuxSys

/// An event loop on a thread of its own (`-object iothread`), to which devices give their queues so that one cannot hold up another or QMP.
///
/// Created, and in the end stopped, on the main loop's thread.
final class IOThread: Sendable {
    let id: String
    let loop: EventLoop
    private let thread: OSThread

    /// The thread runs when this returns. It looks for work at most `longestLook` nanoseconds before it sleeps, and on a host with one processor, where nobody
    /// could bring it meanwhile, not at all.
    init(id: String, longestLook: UInt64) throws(Errno) {
        let loop = try EventLoop(longestLook: HostProcessors.count > 1 ? longestLook : 0)
        self.id = id
        self.loop = loop
        thread = try OSThread.start(name: "IO \(id)") { loop.run() }
    }

    /// The kernel's id of the thread; 0 until it has begun to run.
    var threadID: Int32 { thread.id }

    /// Nanoseconds that it looks for work at most before it sleeps.
    var longestLook: UInt64 { loop.longestLook }

    /// Ends the thread. Devices have left the loop before.
    func stop() {
        loop.stop()
        thread.join()
    }

    deinit { stop() }
}
