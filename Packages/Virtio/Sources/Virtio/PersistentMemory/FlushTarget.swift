public import AddressSpace
public import LinuxSys
internal import Synchronization

/// Makes what was written to persistent memory durable, without holding up whoever asks. One flush at a time; the calls are the device's, under its lock.
public protocol FlushTarget: AnyObject {
    /// Readable when a flush has ended. Belongs to the target.
    var completionDescriptor: Int32 { get }
    /// Begins a flush of all that has been written before; the one before has been taken.
    func start()
    /// Whether the flush that has ended was successful; nil while it has not.
    func takeResult() -> Bool?
    /// Waits until the flush has ended.
    func wait()
}

/// Flushes the file behind a shared mapping, on a thread of its own that is there from the first flush on: a disk may take seconds.
public final class FileFlush: FlushTarget {
    private enum Step: UInt32 { case idle, flush, end }

    /// What the thread shares with the device.
    private final class Shared: Sendable {
        let descriptor: Int32
        let completion: EventFD
        let step = WaitWord(Step.idle.rawValue)
        /// The flush that is over was successful.
        let succeeded = Atomic<Bool>(false)

        init(_ descriptor: Int32) throws(Errno) {
            self.descriptor = descriptor
            completion = try EventFD()
        }

        func run() {
            while true {
                step.wait(while: Step.idle.rawValue)
                switch step.value {
                case Step.flush.rawValue: flush()
                case Step.end.rawValue: return
                default: break
                }
            }
        }

        /// fdatasync(2) writes what a shared mapping has changed as well, and what of the file's metadata is needed to find it again.
        func flush() {
            succeeded.store(PositionalIO.synchronizeData(descriptor) >= 0, ordering: .releasing)
            completion.signal()
            _ = step.exchange(Step.flush.rawValue, for: Step.idle.rawValue)
            step.wakeAll()
        }
    }

    private let memory: HostMemory
    private let shared: Shared
    private var thread: OSThread?

    /// `memory` is a shared mapping of a file.
    public init(_ memory: HostMemory) throws(Errno) {
        self.memory = memory
        shared = try Shared(memory.fileDescriptor)
    }

    deinit {
        // A flush that is under way is waited for; it may still be what somebody counts on.
        wait()
        shared.step.store(Step.end.rawValue)
        shared.step.wakeAll()
        thread?.join()
    }

    public var completionDescriptor: Int32 { shared.completion.raw }

    public func start() {
        let shared = shared
        shared.step.store(Step.flush.rawValue)
        if thread == nil {
            do throws(Errno) { thread = try OSThread.start(name: "pmem flush", stackSize: 64 << 10) { shared.run() } } catch {
                // A host at its limit of threads makes flushes slow, not wrong.
                return shared.flush()
            }
        }
        shared.step.wakeAll()
    }

    public func takeResult() -> Bool? {
        guard shared.completion.drain() > 0 else { return nil }
        // For the thread's last two instructions: the next `start` must not come between them.
        wait()
        return shared.succeeded.load(ordering: .acquiring)
    }

    public func wait() {
        while shared.step.value == Step.flush.rawValue { shared.step.wait(while: Step.flush.rawValue) }
    }
}
