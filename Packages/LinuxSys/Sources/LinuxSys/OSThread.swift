internal import CLinuxSys
internal import Glibc
internal import Synchronization

/// A POSIX thread that we own. It must be joined before the objects that its body uses by reference to memory go.
public final class OSThread: Sendable {
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        let identifier = Atomic<Int32>(0)
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    private let start: Start
    private let handle: Mutex<pthread_t?>

    private init(start: Start, handle: pthread_t) {
        self.start = start
        self.handle = Mutex(handle)
    }

    /// Starts a thread. `name` is cut to the 15 bytes that Linux keeps; the stack takes memory only as it is touched, and has
    /// as much room as the C library wants at least.
    public static func start(name: String, stackSize: Int = 256 << 10, _ body: @escaping @Sendable () -> Void) throws(Errno) -> OSThread {
        let start = Start(name: name, body: body)
        var thread = pthread_t()
        // SAFETY: the thread takes over the retained reference as its first act; when no thread starts it is released here.
        let argument = unsafe Unmanaged.passRetained(start)
        let error = unsafe sys_thread_start(&thread, max(stackSize, 0), { argument in
            guard let argument = unsafe argument else { return nil }
            let start = unsafe Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
            start.identifier.store(sys_gettid(), ordering: .releasing)
            OSThread.setName(start.name)
            let signalStack = unsafe sys_signal_stack_make()
            start.body()
            unsafe sys_signal_stack_free(signalStack)
            return nil
        }, argument.toOpaque())
        if error != 0 {
            unsafe argument.release()
            throw Errno(error)
        }
        return OSThread(start: start, handle: thread)
    }

    /// The kernel's thread id (gettid(2)); 0 until the thread has begun to run.
    public var id: Int32 { start.identifier.load(ordering: .acquiring) }

    /// The id of the calling thread.
    public static var currentID: Int32 { sys_gettid() }

    /// Names the calling thread.
    public static func setName(_ name: String) {
        let short = String(decoding: Array(name.utf8.prefix(15)), as: UTF8.self)
        unsafe sys_thread_set_name(short)
    }

    /// Waits until the body has returned. Later and concurrent calls return at once. Not on the thread itself.
    public func join() {
        guard let thread = handle.withLock({ handle in
            let thread = handle
            handle = nil
            return thread
        }) else { return }
        _ = pthread_join(thread, nil)
    }

    /// Sends a signal to the thread; nothing happens after it was joined.
    public func signal(_ number: Int32) {
        handle.withLock { thread in
            if let thread { _ = pthread_kill(thread, number) }
        }
    }

    deinit {
        handle.withLock { thread in
            if let thread { _ = pthread_detach(thread) }
        }
    }
}
