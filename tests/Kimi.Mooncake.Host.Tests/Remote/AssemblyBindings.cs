using System.Collections.Immutable;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;

namespace Kimi.Mooncake.Host.Tests.Remote;

/// <summary>
/// What one assembly file names of others, and what those declare, as text: the runtime looks for it only when the code
/// that names it is about to run.
/// </summary>
internal static class AssemblyBindings
{
    /// <summary>Every type, and every member with its signature, that the file names of the other assembly.</summary>
    public static SortedSet<string> Named(string path, string assembly)
    {
        using var file = new PEReader(File.OpenRead(path));
        var reader = file.GetMetadataReader();
        var named = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var handle in reader.TypeReferences.Where(handle => ScopeOf(reader, handle) == assembly))
        {
            named.Add(TypeNames.Of(reader, handle));
        }

        foreach (var handle in reader.MemberReferences)
        {
            var member = reader.GetMemberReference(handle);
            if (DeclaringType(reader, member.Parent) is { } type && ScopeOf(reader, type) == assembly)
            {
                var signature = member.GetKind() == MemberReferenceKind.Field
                    ? member.DecodeFieldSignature(TypeNames.Instance, null)
                    : Text(member.DecodeMethodSignature(TypeNames.Instance, null));
                named.Add($"{TypeNames.Of(reader, type)}.{reader.GetString(member.Name)} {signature}");
            }
        }

        return named;
    }

    /// <summary>Every type, and every member with its signature, that the file declares.</summary>
    public static HashSet<string> Declared(string path)
    {
        using var file = new PEReader(File.OpenRead(path));
        var reader = file.GetMetadataReader();
        var declared = new HashSet<string>(StringComparer.Ordinal);
        foreach (var handle in reader.TypeDefinitions)
        {
            var name = TypeNames.Of(reader, handle);
            var type = reader.GetTypeDefinition(handle);
            declared.Add(name);
            foreach (var method in type.GetMethods().Select(reader.GetMethodDefinition))
            {
                var signature = Text(method.DecodeSignature(TypeNames.Instance, null));
                declared.Add($"{name}.{reader.GetString(method.Name)} {signature}");
            }

            foreach (var field in type.GetFields().Select(reader.GetFieldDefinition))
            {
                declared.Add(
                    $"{name}.{reader.GetString(field.Name)} {field.DecodeSignature(TypeNames.Instance, null)}");
            }
        }

        return declared;
    }

    private static string Text(MethodSignature<string> method) =>
        $"{(method.Header.IsInstance ? "instance" : "static")} {method.ReturnType} " +
        $"`{method.GenericParameterCount}({string.Join(", ", method.ParameterTypes)})";

    private static string? ScopeOf(MetadataReader reader, TypeReferenceHandle handle)
    {
        var scope = reader.GetTypeReference(handle).ResolutionScope;
        return scope.Kind switch
        {
            HandleKind.AssemblyReference =>
                reader.GetString(reader.GetAssemblyReference((AssemblyReferenceHandle)scope).Name),
            HandleKind.TypeReference => ScopeOf(reader, (TypeReferenceHandle)scope),
            _ => null,
        };
    }

    /// <summary>The type whose member is named, also when it is a generic one with arguments.</summary>
    private static TypeReferenceHandle? DeclaringType(MetadataReader reader, EntityHandle parent)
    {
        if (parent.Kind == HandleKind.TypeReference)
        {
            return (TypeReferenceHandle)parent;
        }

        if (parent.Kind != HandleKind.TypeSpecification)
        {
            return null;
        }

        var blob = reader.GetBlobReader(reader.GetTypeSpecification((TypeSpecificationHandle)parent).Signature);
        if (blob.ReadSignatureTypeCode() != SignatureTypeCode.GenericTypeInstance)
        {
            return null;
        }

        blob.ReadCompressedInteger();
        var type = blob.ReadTypeHandle();
        return type.Kind == HandleKind.TypeReference ? (TypeReferenceHandle)type : null;
    }

    /// <summary>Types as text that is the same in every assembly.</summary>
    private sealed class TypeNames : ISignatureTypeProvider<string, object?>
    {
        public static readonly TypeNames Instance = new();

        public static string Of(MetadataReader reader, TypeReferenceHandle handle)
        {
            var type = reader.GetTypeReference(handle);
            var name = Full(reader, type.Namespace, type.Name);
            return type.ResolutionScope.Kind == HandleKind.TypeReference
                ? $"{Of(reader, (TypeReferenceHandle)type.ResolutionScope)}+{name}"
                : name;
        }

        public static string Of(MetadataReader reader, TypeDefinitionHandle handle)
        {
            var type = reader.GetTypeDefinition(handle);
            var name = Full(reader, type.Namespace, type.Name);
            var outer = type.GetDeclaringType();
            return outer.IsNil ? name : $"{Of(reader, outer)}+{name}";
        }

        public string GetArrayType(string elementType, ArrayShape shape) => $"{elementType}[{shape.Rank}]";

        public string GetByReferenceType(string elementType) => $"{elementType}&";

        public string GetFunctionPointerType(MethodSignature<string> signature) => $"*{Text(signature)}";

        public string GetGenericInstantiation(string genericType, ImmutableArray<string> typeArguments) =>
            $"{genericType}<{string.Join(", ", typeArguments)}>";

        public string GetGenericMethodParameter(object? genericContext, int index) => $"!!{index}";

        public string GetGenericTypeParameter(object? genericContext, int index) => $"!{index}";

        public string GetModifiedType(string modifier, string unmodifiedType, bool isRequired) =>
            isRequired ? $"{unmodifiedType} modreq({modifier})" : unmodifiedType;

        public string GetPinnedType(string elementType) => elementType;

        public string GetPointerType(string elementType) => $"{elementType}*";

        public string GetPrimitiveType(PrimitiveTypeCode typeCode) => typeCode.ToString();

        public string GetSZArrayType(string elementType) => $"{elementType}[]";

        public string GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind) =>
            Of(reader, handle);

        public string GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind) =>
            Of(reader, handle);

        public string GetTypeFromSpecification(
            MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind) =>
            reader.GetTypeSpecification(handle).DecodeSignature(this, genericContext);

        private static string Full(MetadataReader reader, StringHandle space, StringHandle name) =>
            space.IsNil ? reader.GetString(name) : $"{reader.GetString(space)}.{reader.GetString(name)}";
    }
}
