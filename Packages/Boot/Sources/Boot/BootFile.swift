internal import AddressSpace
internal import BootCommon
internal import LinuxSys

/// An open kernel or initrd: a regular file whose size was taken once.
struct BootFile: ~Copyable {
    let name: BootFileName
    let descriptor: OwnedFD
    /// In bytes.
    let size: UInt64

    private init(name: BootFileName, descriptor: consuming OwnedFD, size: UInt64) {
        self.name = name
        self.descriptor = descriptor
        self.size = size
    }

    static func open(_ file: BootFileKind, path: String) throws(BootError) -> BootFile {
        let name = BootFileName(file: file, path: path)
        do throws(Errno) {
            // Opening a FIFO or a terminal must not block or make it ours before its kind is known.
            let descriptor = try SysFile.open(path, [.readOnly, .nonBlocking, .noControllingTerminal])
            let status = try SysFile.status(of: descriptor)
            if status.kind == .regular { return BootFile(name: name, descriptor: descriptor, size: status.size) }
        } catch {
            throw .file(name, error)
        }
        throw .notRegularFile(name)
    }

    /// Reads a part of the file straight into guest memory; in bytes.
    func load(from offset: UInt64, count: UInt64, to address: UInt64, of memory: GuestMemory) throws(BootError) {
        do throws(GuestMemoryError) {
            try memory.readFile(descriptor, fileOffset: offset, count: count, into: address)
        } catch .file(let errno) {
            throw .file(name, errno)
        } catch .endOfFile {
            throw .shrank(name)
        } catch {
            throw .memory(address: address, error)
        }
    }
}

extension BootFile: KernelSource {
    func read(at offset: UInt64, count: Int) throws(KernelSourceError) -> [UInt8] {
        guard let position = Int64(exactly: offset) else { throw .shrank }
        var bytes = [UInt8](repeating: 0, count: count)
        do throws(Errno) {
            guard try descriptor.pread(into: &bytes, at: position) != count else { return bytes }
        } catch {
            throw .readFailed(errno: error.code)
        }
        throw .shrank
    }
}
