internal import BootCommon

extension KernelSource where Self: ~Copyable {
    /// `read`, with the error that recognising a kernel throws.
    func bytes(at offset: UInt64, count: Int) throws(KernelImageError) -> [UInt8] {
        do throws(KernelSourceError) {
            return try read(at: offset, count: count)
        } catch {
            throw .source(error)
        }
    }
}
