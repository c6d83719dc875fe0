internal import AddressSpace
internal import BootAArch64
internal import BootCommon
internal import BootDecompression

/// Where in a file a compressed kernel is; in bytes.
struct CompressedKernel {
    let format: KernelCompression
    let offset: UInt64
    let size: UInt64
}

extension BootFile {
    /// The header of an Image that is compressed in this file.
    ///
    /// Only the header tells where the Image goes, and no decoder gives 64 bytes without a place for the block that they are in.
    /// So the first blocks go to the start of `space`, where most kernels belong anyway, and are decompressed once more; where a
    /// kernel belongs elsewhere they stay behind in what is free memory to it.
    func header(
        of payload: CompressedKernel, using space: GuestRange, of memory: GuestMemory
    ) throws(BootError) -> AArch64ImageHeader {
        let wanted = AArch64KernelFile.headSize
        let written = try decompress(payload, to: space, of: memory, enough: Int(truncatingIfNeeded: wanted))
        // Copied once: the memory may be shared.
        let head = written == 0 ? [] : try copy(at: space.start, count: min(UInt64(written), wanted), of: memory)
        // How long it becomes is not known yet.
        let size = UInt64(head.count) < wanted ? UInt64(head.count) : .max
        do throws(AArch64ImageError) {
            switch try AArch64KernelFile(head: LittleEndianBytes(head), size: size) {
            case .image(let header, _): return header
            case .compressed(let format, _, _): throw .compressed(format.rawValue)
            }
        } catch {
            throw .decompressedImage(name, error)
        }
    }

    /// Decompresses into `room`, or as much of it as is one piece of this process's memory.
    /// - Returns: the bytes that were written, `enough` or somewhat more if it stopped early.
    func decompress(
        _ payload: CompressedKernel, to room: GuestRange, of memory: GuestMemory, enough: Int = .max
    ) throws(BootError) -> Int {
        let host = try firstPiece(of: room, of: memory)
        do throws(DecompressionError) {
            // SAFETY: `host` was checked to be RAM and stays mapped, see HostRange; no vCPU runs yet.
            guard let base = unsafe UnsafeMutableRawPointer(bitPattern: host.address) else { return 0 }
            let output = unsafe Decompressor.Output(base: base, count: host.count)
            return try Decompressor.decompress(
                payload.format, from: self, at: payload.offset, count: payload.size, to: output, enough: enough)
        } catch .source(let error) {
            throw BootError(name, error)
        } catch .tooLarge {
            let end = room.start &+ UInt64(host.count)
            throw .decompressedKernelDoesNotFit(name, GuestRange(start: room.start, end: end) ?? room)
        } catch {
            throw .decompression(name, error)
        }
    }

    /// RAM of several NUMA nodes is in several pieces.
    private func firstPiece(of range: GuestRange, of memory: GuestMemory) throws(BootError) -> HostRange {
        do throws(GuestMemoryError) {
            var first: HostRange?
            try memory.forEachHostRange(at: range.start, count: range.count) { first = first ?? $0 }
            if let first { return first }
            throw .notRAM(address: range.start)
        } catch {
            throw .memory(address: range.start, error)
        }
    }

    private func copy(at address: UInt64, count: UInt64, of memory: GuestMemory) throws(BootError) -> [UInt8] {
        do throws(GuestMemoryError) {
            return try memory.bytes(at: address, count: count)
        } catch {
            throw .memory(address: address, error)
        }
    }
}
