/// How a raw image is opened.
public struct RawImageOptions: Equatable, Sendable {
    /// Who runs the operations.
    public enum Engine: Equatable, Sendable {
        /// io_uring where the kernel offers it, else threads.
        case auto
        /// io_uring, or an error.
        case ioUring
        /// A few threads that make blocking calls.
        case threads
    }

    /// A regular file or a block device. The content is raw whatever it looks like: a format is never probed, because the guest
    /// could write another format's header, naming a host file, into the first sector.
    public var path: String
    /// Opens the file for reading only, so that not even a broken monitor can change it.
    public var readOnly: Bool
    /// O_DIRECT: past the host's page cache.
    public var direct: Bool
    public var engine: Engine
    /// `discard=unmap`: discards, and zero writes that permit it, free the host's space.
    public var discard: Bool
    /// Operations in flight at most; brought into 1...1024.
    public var inFlightLimit: Int
    /// Threads at most, started when they are needed: all the work of the threads engine; with io_uring only discards, zero writes
    /// and unaligned direct I/O. Brought into 1...8.
    public var threadLimit: Int

    public init(
        path: String, readOnly: Bool = false, direct: Bool = false, engine: Engine = .auto, discard: Bool = false,
        inFlightLimit: Int = 128, threadLimit: Int = 4
    ) {
        self.path = path
        self.readOnly = readOnly
        self.direct = direct
        self.engine = engine
        self.discard = discard
        self.inFlightLimit = min(max(inFlightLimit, 1), 1024)
        self.threadLimit = min(max(threadLimit, 1), 8)
    }
}
