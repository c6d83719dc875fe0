internal import AddressSpace
internal import LinuxSys
internal import MachineManager

extension HostMemory {
    /// What `backend` describes, its pages on the nodes of the host that it names and, where it says so, taken by so many threads. `isDumped`: what the machine
    /// says about all of its memory. A file that is new is added to `newFiles`.
    static func make(
        _ backend: VmConfig.MemoryBackend, isDumped: Bool, threads: Int, newFiles: inout [NewFile]
    ) throws(MemoryBackendError) -> HostMemory {
        var options: Options = backend.isShared ? [.shared] : []
        if !isDumped || !backend.isDumped { options.insert(.excludedFromDump) }
        switch backend.kind {
        case .file(let path): return try make(backend, path, options, threads, &newFiles)
        case .hugePages(let size):
            let memory = try lift(MemoryBackendError.hugePages) { () throws(AddressSpaceError) in
                try hugePages(size.map { .size($0) } ?? .standard, size: backend.size, options: options)
            }
            return try memory.placed(as: backend, threads)
        case .ram, .memfd:
            let memory = try lift(MemoryBackendError.map) { () throws(AddressSpaceError) in try anonymous(size: backend.size, options: options) }
            return try memory.placed(as: backend, threads)
        }
    }

    private static func make(
        _ backend: VmConfig.MemoryBackend, _ path: String, _ options: Options, _ threads: Int, _ newFiles: inout [NewFile]
    ) throws(MemoryBackendError) -> HostMemory {
        var options = options
        if backend.isReadOnly { return try mapReadOnly(backend, path, options, threads) }
        var newFile: NewFile?
        let file = try open(path, &options, &newFile)
        let pageSize = try fit(file, path, backend.size)
        let memory = try map(file, path, pageSize, backend.size, options).placed(as: backend, threads)
        if let newFile { newFiles.append(newFile) }
        return memory
    }

    /// A file that must be there, and that this process cannot write either.
    private static func mapReadOnly(
        _ backend: VmConfig.MemoryBackend, _ path: String, _ options: Options, _ threads: Int
    ) throws(MemoryBackendError) -> HostMemory {
        let file = try lift({ .open(path: path, $0) }) { () throws(Errno) in try SysFile.open(path, .readOnly) }
        let status = try lift({ .size(path: path, $0) }) { () throws(Errno) in try SysFile.status(of: file) }
        guard status.kind == .regular else { throw .notAFile(path: path) }
        guard status.size >= backend.size else { throw .tooShort(path: path, bytes: status.size, size: backend.size) }
        let memory: HostMemory
        do throws(AddressSpaceError) { memory = try mapping(file, size: backend.size, writable: false, options: options) } catch { throw .map(error) }
        return try memory.placed(as: backend, threads)
    }

    private static func open(_ path: String, _ options: inout Options, _ newFile: inout NewFile?) throws(MemoryBackendError) -> OwnedFD {
        do throws(Errno) {
            return try SysFile.open(path, .readWrite)
        } catch .isDirectory {
            options.insert(.zeroFile)
            return try lift({ .open(path: path, $0) }) { () throws(Errno) in try SysFile.temporary(in: path) }
        } catch .noEntry {
            let file = try lift({ .open(path: path, $0) }) { () throws(Errno) in try SysFile.open(path, [.readWrite, .create, .exclusive]) }
            newFile = NewFile(path: path)
            return file
        } catch { throw .open(path: path, error) }
    }

    /// Makes an empty file as long as the memory. Returns the bytes of its mapping's pages.
    private static func fit(_ file: borrowing OwnedFD, _ path: String, _ size: UInt64) throws(MemoryBackendError) -> UInt64 {
        let wrap = { (error: Errno) -> MemoryBackendError in .size(path: path, error) }
        let status = try lift(wrap) { () throws(Errno) in try SysFile.status(of: file) }
        guard status.kind == .regular else { throw .notAFile(path: path) }
        let pageSize = UInt64(HostMemory.pageSize(of: file))
        guard size % pageSize == 0 else { throw .partialPage(path: path, pageSize: pageSize) }
        if status.size == 0 {
            try lift(wrap) { () throws(Errno) in try file.setSize(size) }
        } else if status.size < size {
            throw .tooShort(path: path, bytes: status.size, size: size)
        }
        return pageSize
    }

    private static func map(
        _ file: consuming OwnedFD, _ path: String, _ pageSize: UInt64, _ size: UInt64, _ options: Options
    ) throws(MemoryBackendError) -> HostMemory {
        do throws(AddressSpaceError) {
            return try mapping(file, size: size, options: options.union(.reserved))
        } catch .system(_, .noMemory) where pageSize > 4096 {
            throw .tooFewHugePages(path: path, pageSize: pageSize)
        } catch { throw .map(error) }
    }

    private func placed(as backend: VmConfig.MemoryBackend, _ threads: Int) throws(MemoryBackendError) -> HostMemory {
        if let policy = backend.policy.mode {
            for node in backend.hostNodes where !HostNodes.exists(node) { throw .noSuchNode(node) }
            try lift(MemoryBackendError.policy) { () throws(Errno) in try bind(policy, nodes: backend.hostNodes.map { Int(clamping: $0) }) }
        }
        if backend.isPreallocated {
            try lift({ MemoryBackendError.populate(size: size, $0) }) { () throws(Errno) in try populate(threads: threads) }
        }
        return self
    }

    private func lift<Failure: Error, Value: ~Copyable>(
        _ wrap: (Failure) -> MemoryBackendError, _ body: () throws(Failure) -> Value
    ) throws(MemoryBackendError) -> Value { try HostMemory.lift(wrap, body) }

    private static func lift<Failure: Error, Value: ~Copyable>(
        _ wrap: (Failure) -> MemoryBackendError, _ body: () throws(Failure) -> Value
    ) throws(MemoryBackendError) -> Value {
        do throws(Failure) { return try body() } catch { throw wrap(error) }
    }
}

extension VmConfig.MemoryBackend.Policy {
    /// Nil where the kernel need not be told.
    fileprivate var mode: HostMemory.Policy? {
        switch self {
        case .standard: nil
        case .preferred: .preferred
        case .bind: .bind
        case .interleave: .interleave
        }
    }
}

/// The host's NUMA nodes (Documentation/ABI/stable/sysfs-devices-node).
private enum HostNodes {
    private static let folder = "/sys/devices/system/node"

    /// mbind(2) passes over nodes that are not there as long as one is. Without sysfs nothing is known, and mbind has the word.
    static func exists(_ number: UInt64) -> Bool {
        (try? SysFile.linkStatus("\(folder)/node\(number)")) != nil || (try? SysFile.linkStatus(folder)) == nil
    }
}
